"""Other sources of the bytes of a recording: who may see them also decides who may see results.

An enriched copy names the recordings that its results are of, and a slim copy the one it was made
from. A file with such a record may lie in a dandiset itself, so each of them counts.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h5py

from nwbdyn import archive
from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import slim_record, tables, walk
from nwbdyn.nwb.read.objects import HDF5_ERRORS, NwbIndex, attribute, text, whole
from nwbdyn.recording import Source
from nwbdyn.results import other_sources
from nwbdyn.results.details import Detail, nested

_NAMES = ("dandiset_id", "asset_path", "asset_id", "digest", "instance")
_COLUMNS = ("section", "key", "value", "value_type")  # of the details of a run


def sources(contents: NwbIndex, opened: Source, taken: Source) -> tuple[Source, ...]:
    """Every source of an archive or of the web, but the one that the recording has already.

    Args:
        opened: the file that was opened.
        taken: the recording's Source.
    """
    named = [opened, *_of_results(contents), *_of_a_slim_copy(contents)]
    others = [source for source in named if not _is_own(source) and source != taken]
    return tuple(dict.fromkeys(others))


def of_file(path: Path) -> tuple[Source, ...]:
    """Every source of an archive or of the web that a file with results names.

    Raises:
        ReadError: no NWB, or damaged.
    """
    itself = Source(uri=path.name, url="", asset_path=path.name)
    with ExitStack() as stack:
        try:
            contents = walk.open_contents(stack.enter_context(path.open("rb")), itself)
        except OSError as error:
            raise ReadError(walk.damaged(path.name, error)) from error
        stack.callback(contents.file.close)
        record = slim_record.read(contents.file)
        copied = itself if record is None else record.source
        return sources(contents, copied, itself)


def _of_results(contents: NwbIndex) -> Iterator[Source]:
    """Sources of the results that `walk` has passed over."""
    for note in contents.notes:
        if note.code == "earlier-results":
            try:
                yield from _of_runs(contents, contents.file[note.where])
            except HDF5_ERRORS:
                contents.check_stream()
                yield other_sources.unknown(contents.file_name)


def _of_runs(contents: NwbIndex, module: h5py.Group) -> Iterator[Source]:
    for run in _groups(module, "ModelRun"):
        for group in _groups(run, "RunSource"):
            known = {name: attribute(group, name) or None for name in _NAMES}
            yield Source(
                uri=attribute(group, "uri") or "",
                url=attribute(group, "url") or "",
                version=attribute(group, "dandiset_version"),
                **known,  # type: ignore[arg-type]  # texts, and `size` is not among them
            )
        yield from other_sources.stated(_environment(contents, run))


def _environment(contents: NwbIndex, run: h5py.Group) -> object:
    """The environment of a run: a mapping, and anything else where it cannot be understood."""
    if "versions" in run:  # of version 0.1 or 0.2, as JSON
        dataset = contents.dataset(run, "versions")
        stored = None if dataset is None else json.loads(text(whole(dataset)))
        return stored.get("environment", {}) if isinstance(stored, dict) else None
    table = contents.group(f"{run.name}/details")
    if table is None:
        return None
    columns = []
    for name in _COLUMNS:
        dataset = contents.dataset(table, name)
        column = None if dataset is None else tables.values(contents, dataset)
        if column is None:
            return None
        columns.append(column)
    rows = (Detail(*map(text, row)) for row in zip(*columns, strict=True))
    return nested(row for row in rows if row.section == "environment")


def _groups(parent: h5py.Group, neurodata_type: str) -> Iterator[h5py.Group]:
    """The groups of a type in a group itself: no link leads out of the file."""
    for name in parent:
        if isinstance(parent.get(name, getlink=True), h5py.HardLink):
            item = parent[name]
            is_group = isinstance(item, h5py.Group)
            if is_group and attribute(item, "neurodata_type") == neurodata_type:
                yield item


def _of_a_slim_copy(contents: NwbIndex) -> Iterator[Source]:
    try:
        is_there = contents.file.get(slim_record.RECORD_PATH) is not None
    except HDF5_ERRORS:
        is_there = True
    if is_there and slim_record.read(contents.file) is None:
        yield other_sources.unknown(contents.file_name)


def _is_own(source: Source) -> bool:
    """True for a file of the user's own, as far as anything says."""
    known = (source.dandiset_id, source.asset_id, source.instance)
    return not any(known) and not any(map(archive.is_remote, (source.uri, source.url)))
