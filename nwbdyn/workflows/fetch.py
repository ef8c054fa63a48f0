"""A slim copy: a valid NWB file with everything that a fit, a viewer or a colleague needs, and
without the raw recordings and movies that make it large.

Series of raw data stay, with what describes them, and lose their rows; so references to them stay
good. Only the bytes that are copied are read, and chunks are copied as they are stored. What was
left out is listed in the copy, with the source's address and digest: opened again, the copy stands
for its source.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from nwbdyn import archive, disclosure, opening, streaming
from nwbdyn.errors import ReadError, ResultsError
from nwbdyn.nwb.read import slim_record, tables, walk
from nwbdyn.nwb.read.objects import HDF5_ERRORS, NwbIndex, NwbObject, address_of, attribute
from nwbdyn.nwb.read.slim_record import LeftOut, SlimRecord
from nwbdyn.nwb.slim.hdf5_copy import Copy, Omissions
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Source
from nwbdyn.results import run_directory
from nwbdyn.version import __version__

RAW = ("ElectricalSeries", "ImageSeries", "PatchClampSeries", "DecompositionSeries")
ROWS = ("data", "timestamps", "control")  # datasets of a series with one row per sample
SNIPPETS = ("waveforms", "waveforms_index", "waveforms_index_index")  # raw data of single spikes
WORTH_IT = 1_000_000  # bytes; smaller arrays are kept, raw or not
SPARE = 16 * 2**20  # bytes of disk beside the values: names, text, indices


@dataclass(frozen=True)
class FetchResult:
    """A recording that is on this disk now."""

    path: Path
    size: int  # bytes
    source_size: int | None  # bytes of the whole file, where known
    left_out: tuple[LeftOut, ...] = ()  # empty for a whole file


def fetch(
    source: Source, folder: Path, *, full: bool = False, report: Report = silent
) -> FetchResult:
    """Put a slim copy of a recording under `folder`, where the whole file would go.

    A file from which nothing would be left out is fetched whole, so that its digest holds. What is
    there already is kept, when it is a slim copy of the same bytes, or all of them.

    Args:
        source: from `archive.resolve`.
        folder: an archive's asset lands in `<folder>/<dandiset>/<asset path>`.
        full: fetch the whole file, verified and resumable.
        report: called with the progress.

    Raises:
        ResultsError: another file is there, or the copy cannot be written. Nothing is left behind.
        ReadError: the source is not NWB, a Zarr store, or damaged.
        AddressError, ArchiveError, StreamError: its bytes cannot be had.
    """
    if full:
        return _fetch_full(source, folder, report)
    if source.is_zarr:
        raise ReadError(
            f"{source.uri} is a Zarr store, of which no slim copy is made: fit it where it is, or "
            "pass --full for all of it."
        )
    source, target = opening.with_digest(source), archive.target_of(source, Path(folder))
    there = slim_record.of_file(target)
    if target.exists() and there is None:
        return _fetch_full(source, folder, report)
    renew = archive.renewal_of(source)
    with streaming.open_file(source, renew=renew, report=report) as file:
        contents = walk.open_contents(file, source)
        with contents.file:
            left_out = _left_out(contents)
            source = replace(source, size=contents.watched.size)
            record = _record(contents, source, _identity(source, file), left_out)
            if there is not None:
                return _kept(target, there, record)
            if left_out:
                return _write(contents, file, target, record, report)
    return _fetch_full(source, folder, report)


def _fetch_full(source: Source, folder: Path, report: Report) -> FetchResult:
    path = archive.download(source, folder, report=report)
    size = sum(item.stat().st_size for item in (path, *path.rglob("*")) if item.is_file())
    return FetchResult(path, size, size)


def _kept(target: Path, there: SlimRecord, wanted: SlimRecord) -> FetchResult:
    if wanted.identity is None or there.identity != wanted.identity:
        raise ResultsError(
            f"'{target}' is a slim copy of other bytes ({there.source.uri}): move it away, or "
            "choose another folder."
        )
    return FetchResult(target, target.stat().st_size, there.source.size, there.left_out)


def _identity(source: Source, file: BinaryIO) -> str | None:
    """Identity of the bytes: digest, ETag, or the modification time of a local file."""
    if source.digest is not None:
        return source.digest
    if source.path is not None:
        state = source.path.stat()
        return f"changed:{state.st_mtime_ns} size:{state.st_size}"
    return getattr(file, "etag", None)


def _left_out(contents: NwbIndex) -> tuple[LeftOut, ...]:
    """Every array that the copy will lack."""
    rows = [item for series in _raw(contents) for item in _rows_of(contents, series)]
    units = contents.of_type("Units")
    return (*rows, *(item for unit in units for item in _snippets(contents, unit)))


def _record(
    contents: NwbIndex, source: Source, identity: str | None, left_out: tuple[LeftOut, ...]
) -> SlimRecord:
    """The record in a slim copy; a slim copy of a slim copy refers to the first source."""
    before = slim_record.read(contents.file)
    made_by = f"nwbdyn {__version__}"
    if before is None:
        return SlimRecord(disclosure.of_source(source), identity, left_out, made_by)
    first = disclosure.of_source(_in_dandiset_of(source, before.source))
    return SlimRecord(first, before.identity, (*before.left_out, *left_out), made_by)


def _in_dandiset_of(opened: Source, first: Source) -> Source:
    """The first source, in the dandiset where its copy lies: that one may be embargoed."""
    names = ("dandiset_id", "version", "asset_path", "asset_id", "instance")
    is_known = (opened.dandiset_id, opened.instance) in (
        (None, None),
        (first.dandiset_id, first.instance),
    )
    return first if is_known else replace(first, **{name: getattr(opened, name) for name in names})


def _raw(contents: NwbIndex) -> Iterator[NwbObject]:
    """The series of raw data that are worth leaving out."""
    for item in contents.of_type("TimeSeries"):
        if any(item.is_a(kind) for kind in RAW):
            data = _dataset(contents, item, "data")
            if data is not None and _declared(data) > WORTH_IT:
                yield item


def _rows_of(contents: NwbIndex, item: NwbObject) -> Iterator[LeftOut]:
    for name in ROWS:
        dataset = _dataset(contents, item, name)
        if dataset is not None and dataset.ndim:
            yield _entry(item, name, dataset, f"{name} of raw series")


def _snippets(contents: NwbIndex, unit: NwbObject) -> list[LeftOut]:
    """The column of every spike's own waveform, where it is large."""
    waveforms = _dataset(contents, unit, SNIPPETS[0])
    if waveforms is None or _declared(waveforms) <= WORTH_IT:
        return []
    columns = ((name, _dataset(contents, unit, name)) for name in SNIPPETS)
    reason = "waveforms of single spikes"
    return [_entry(unit, name, item, reason) for name, item in columns if item is not None]


def _dataset(contents: NwbIndex, unit: NwbObject, name: str) -> h5py.Dataset | None:
    try:
        item = unit.group.get(name)
    except HDF5_ERRORS:
        contents.check_stream()
        return None
    return item if isinstance(item, h5py.Dataset) and item.shape is not None else None


def _declared(dataset: h5py.Dataset) -> int:
    """Bytes of the values, uncompressed; asking for what is stored would read the whole index."""
    return int(np.prod(dataset.shape, dtype=float)) * dataset.dtype.itemsize


def _entry(item: NwbObject, name: str, dataset: h5py.Dataset, reason: str) -> LeftOut:
    return LeftOut(
        path=f"{item.path}/{name}",
        neurodata_type=item.neurodata_type,
        shape=dataset.shape,
        dtype=str(dataset.dtype),
        bytes=_declared(dataset),
        reason=reason,
    )


def _write(
    contents: NwbIndex, file: BinaryIO, target: Path, record: SlimRecord, report: Report
) -> FetchResult:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with run_directory.atomic_write(target) as partial:
            record = _fill(contents, file, partial, record, report)
    except OSError as error:
        raise ResultsError(f"Cannot write '{target}': {error}.") from error
    return FetchResult(target, target.stat().st_size, record.source.size, record.left_out)


def _fill(
    contents: NwbIndex, file: BinaryIO, path: Path, record: SlimRecord, report: Report
) -> SlimRecord:
    """Write the copy at `path`; its record, with what could not be copied added."""
    emptied = {address_of(item.group): ROWS for item in _raw(contents)}
    cut = [item for item in contents.of_type("Units") if _snippets(contents, item)]
    omissions = Omissions(emptied, {address_of(item.group): SNIPPETS for item in cut})
    with h5py.File(path, "w", libver="v108") as copied:
        copy = Copy(contents, copied, omissions)
        copy.structure()
        _check_space(path, copy.num_bytes)
        if hasattr(file, "prefetch"):
            file.prefetch((piece.start, piece.start + piece.size) for piece in copy.pieces)
        copy.values(report)
        copy.attributes()
        lost = (LeftOut(path, "", (), "", 0, reason) for path, reason in copy.lost.items())
        record = replace(record, left_out=(*record.left_out, *lost))
        for item in cut:
            names = tables.column_names(contents, item.group)
            kept = [name for name in names if name not in SNIPPETS]
            copied[item.path].attrs["colnames"] = np.array(kept, dtype=h5py.string_dtype())
        for item in _raw(contents):
            _annotate_emptied_series(copied[item.path], item, record)
        slim_record.write(copied, record)
    return record


def _annotate_emptied_series(group: h5py.Group, series: NwbObject, record: SlimRecord) -> None:
    """Note where the values of a series are in its comments, which every tool shows."""
    data = next(item for item in record.left_out if item.path == f"{series.path}/data")
    shape = " x ".join(map(str, data.shape))
    sentence = (
        f"Its values ({shape}, {data.dtype}) are in {record.source.uri} and not in this copy."
    )
    before = attribute(series.group, "comments")
    group.attrs["comments"] = f"{before} {sentence}" if before else sentence


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed + SPARE:
        raise ResultsError(
            f"'{path.parent}' has {free:,} bytes free and about {needed + SPARE:,} are needed: "
            "make room or choose another folder."
        )
