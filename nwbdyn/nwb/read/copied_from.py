"""Other sources of the bytes of a recording: who may see them also decides who may see results.

An enriched copy names the recordings that its results are of, and a slim copy the one it was made
from. A file with such a record may lie in a dandiset itself, so each of them counts.
"""

from collections.abc import Iterator

import h5py

from nwbdyn.nwb.read import slim_record
from nwbdyn.nwb.read.objects import HDF5_ERRORS, NwbIndex, attribute
from nwbdyn.recording import UNKNOWN_ARCHIVE, Source

_NAMES = ("dandiset_id", "asset_path", "asset_id", "digest", "instance")


def sources(contents: NwbIndex, opened: Source, taken: Source) -> tuple[Source, ...]:
    """Every source of an archive or of the web, but the one that the recording has already.

    Args:
        opened: the file that was opened.
        taken: the recording's Source.
    """
    named = [opened, *_of_results(contents), *_of_a_slim_copy(contents)]
    others = [source for source in named if not _is_own(source) and source != taken]
    return tuple(dict.fromkeys(others))


def _of_results(contents: NwbIndex) -> Iterator[Source]:
    """Sources of the results that `walk` has passed over."""
    for note in contents.notes:
        if note.code == "earlier-results":
            try:
                yield from _of_runs(contents.file[note.where])
            except HDF5_ERRORS:
                contents.check_stream()
                yield unknown(contents.file_name)


def _of_runs(module: h5py.Group) -> Iterator[Source]:
    for run in _groups(module, "ModelRun"):
        for group in _groups(run, "RunSource"):
            known = {name: attribute(group, name) or None for name in _NAMES}
            yield Source(
                uri=attribute(group, "uri") or "",
                url=attribute(group, "url") or "",
                version=attribute(group, "dandiset_version"),
                **known,  # type: ignore[arg-type]  # texts, and `size` is not among them
            )


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
        yield unknown(contents.file_name)


def unknown(name: str) -> Source:
    """A source of which nobody knows the archive."""
    return Source(uri=name, url="", instance=UNKNOWN_ARCHIVE)


def _is_own(source: Source) -> bool:
    """True for a file of the user's own, as far as anything says."""
    known = (source.dandiset_id, source.asset_id, source.instance)
    return not any(known) and not source.url.lower().startswith(("http://", "https://"))
