"""From an address to a Recording: resolve it, open its bytes, read what the file holds.

Nothing but metadata is read until an array is asked for; closing the Recording closes the file.
"""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nwbdyn import archive, streaming
from nwbdyn.data import contradictions, selection
from nwbdyn.errors import AddressError
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Recording, Source

if TYPE_CHECKING:
    from nwbdyn.nwb.zarr import Store

DIGEST_LIMIT = 1 << 30  # bytes; local files up to this size are digested when they are opened
_LISTED = 5


def open(
    address: str,
    *,
    instance: str | None = None,
    quantity: str | None = None,
    plane: str | None = None,
    series: str | None = None,
    time_axis: int | None = None,
    frame_rate: float | None = None,
    frame_start: float | None = None,
    frame_time_unit: str | None = None,
    spike_time_unit: str | None = None,
    where: str | None = None,
    cell_types: Path | str | None = None,
    cell_type_column: str | None = None,
    report: Report = silent,
) -> Recording:
    """The one recording that `address` names.

    What was chosen is kept in `Recording.chosen`, in every fit of it and in what is exported.

    Args:
        address: as `archive.resolve` takes it, naming exactly one NWB file.
        instance: archive to ask, by name or API URL.
        quantity: which ROI traces to take, where a file has several; by default the best.
        plane: name of one ROI table, where a file has several; by default all planes on one clock.
        series: name of the series of ROI traces, or the end of its path, where several hold the
            same ROIs and their names do not tell which is meant.
        time_axis: axis of the stored traces that is time, 0 or 1, where nothing in the file tells.
        frame_rate: Hz, in place of the frame times that the file states.
        frame_start: seconds, time of the first frame, in place of the stated one.
        frame_time_unit: of frame times that are not seconds: "ms" or "us"; "s" where they are.
        spike_time_unit: of spike times that are not seconds: "ms", or the sampling rate in Hz
            ("30000"); "s" where they are seconds and were refused.
        where: keep the neurons for which this holds, as `selection.where` takes it: "quality ==
            'good' and firing_rate > 0.5". Cell types given here can be used in it.
        cell_types: CSV file with the columns `id` and `cell_type`; it wins over the recording's.
        cell_type_column: column of the neurons' table that holds their cell types.
        report: called with the number of bytes that have arrived.

    Raises:
        AddressError: it names no file, or several.
        ArchiveError, StreamError: the bytes cannot be had.
        ReadError: the file is not NWB, or holds no activity or no such plane.
        ConfigError: a quantity, unit or condition that makes no sense.
        DataError: no such column, a CSV file that does not fit, or no neuron left.
    """
    sources = archive.resolve(address, instance=instance)
    if len(sources) > 1:
        listed = ", ".join(source.asset_path or source.uri for source in sources[:_LISTED])
        more = f" and {len(sources) - _LISTED} more" if len(sources) > _LISTED else ""
        raise AddressError(
            f"'{address}' names {len(sources)} files: {listed}{more}. Add a path that names one, "
            "or fit them all with: nwbdyn fit."
        )
    return open_source(
        sources[0],
        quantity=quantity,
        plane=plane,
        series=series,
        time_axis=time_axis,
        frame_rate=frame_rate,
        frame_start=frame_start,
        frame_time_unit=frame_time_unit,
        spike_time_unit=spike_time_unit,
        where=where,
        cell_types=cell_types,
        cell_type_column=cell_type_column,
        report=report,
    )


def open_source(
    source: Source,
    *,
    where: str | None = None,
    cell_types: Path | str | None = None,
    cell_type_column: str | None = None,
    report: Report = silent,
    **options: Any,
) -> Recording:
    """The recording in one resolved file; arguments and errors as in `open`.

    Args:
        options: fields of `ReadOptions`.
    """
    from nwbdyn.nwb.read.options import ReadOptions
    from nwbdyn.nwb.read.recording import read

    read_options = ReadOptions(**options)
    with ExitStack() as files:
        file = files.enter_context(_bytes_of(source, report))
        recording = read(file, with_digest(source), read_options)
        files.enter_context(recording.files)  # closed first: it holds what reads from `file`
        recording = replace(recording, chosen=read_options.given)
        recording = _labelled(recording, cell_types, cell_type_column)
        if where is not None:
            recording = selection.where(recording, where)
        notes = (*recording.notes, *contradictions.notes(recording))
        return replace(recording, notes=notes, files=files.pop_all())


def _bytes_of(source: Source, report: Report) -> "AbstractContextManager[BinaryIO | Store]":
    """A file, or the objects of a Zarr store."""
    if source.is_zarr:
        from nwbdyn.nwb import zarr

        return zarr.open_store(source, report=report)
    return streaming.open_file(source, renew=archive.renewal_of(source), report=report)


def _labelled(
    recording: Recording, cell_types: Path | str | None, cell_type_column: str | None
) -> Recording:
    """The recording with the cell types of a column of its own, then of a file."""
    from nwbdyn.nwb.read.cell_types import from_column, from_file

    neurons, chosen = recording.neurons, dict(recording.chosen)
    if cell_type_column is not None:
        neurons = from_column(neurons, cell_type_column)
        chosen["cell_type_column"] = cell_type_column
    if cell_types is not None:
        neurons = from_file(neurons, Path(cell_types))
        chosen["cell_types"] = str(cell_types)
        chosen["cell_types_digest"] = f"sha256:{archive.sha256(Path(cell_types))}"
    return replace(recording, neurons=neurons, chosen=chosen)


def with_digest(source: Source) -> Source:
    """A local file's Source with its SHA-256, unless the file is too large to read for that."""
    path = source.path
    if source.is_zarr or path is None or source.digest is not None:
        return source
    if path.stat().st_size > DIGEST_LIMIT:
        return source
    return replace(source, digest=f"sha256:{archive.sha256(path)}")
