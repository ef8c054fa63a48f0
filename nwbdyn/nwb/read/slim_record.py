"""The record in a slim copy: the recording that it is a copy of, and the arrays left out.

Kept in `/scratch/slim_copy` as JSON text, where every NWB tool shows it.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py

from nwbdyn.nwb.read.objects import HDF5_ERRORS, text, whole
from nwbdyn.recording import Source, source_of

RECORD_PATH = "scratch/slim_copy"
FORMAT = 1


@dataclass(frozen=True)
class LeftOut:
    """One array that is in the source and not in its slim copy."""

    path: str  # inside the file
    neurodata_type: str  # of the object that holds it
    shape: tuple[int, ...]
    dtype: str
    bytes: int  # uncompressed
    reason: str


@dataclass(frozen=True)
class SlimRecord:
    """Which bytes a slim copy was made from, and what it lacks."""

    source: Source
    identity: str | None  # digest, ETag or time of change of the source; None when not known
    left_out: tuple[LeftOut, ...]
    made_by: str


def write(file: h5py.File, record: SlimRecord) -> None:
    """Put the record into a copy, replacing one that came with it."""
    if RECORD_PATH in file:
        del file[RECORD_PATH]
    stored = {"format": FORMAT, **asdict(record)}
    words = json.dumps(stored, indent=2, ensure_ascii=False)
    dataset = file.create_dataset(RECORD_PATH, data=words, dtype=h5py.string_dtype())
    dataset.attrs["neurodata_type"] = "ScratchData"
    dataset.attrs["namespace"] = "core"
    dataset.attrs["object_id"] = str(uuid.uuid4())
    dataset.attrs["notes"] = (
        f"This file is a slim copy of {record.source.uri}: {_in_words(record.left_out)}. "
        "Everything else is as in the source."
    )


def read(file: h5py.File) -> SlimRecord | None:
    """The record of a slim copy; None for any other file, or one that cannot be understood."""
    try:
        dataset = file.get(RECORD_PATH)
        if not isinstance(dataset, h5py.Dataset):
            return None
        stored = json.loads(text(whole(dataset)))
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            return None
        left_out = (
            LeftOut(**{**item, "shape": tuple(item["shape"])}) for item in stored["left_out"]
        )
        return SlimRecord(
            source=source_of(stored["source"]),
            identity=stored["identity"],
            left_out=tuple(left_out),
            made_by=stored["made_by"],
        )
    except HDF5_ERRORS:
        return None


def of_file(path: Path) -> SlimRecord | None:
    """The record of the slim copy at `path`; None for any other file."""
    try:
        with h5py.File(path, "r") as file:
            return read(file)
    except OSError:
        return None


def original(record: SlimRecord, opened: Source) -> Source:
    """The recording that a slim copy stands for, with its bytes where the copy is."""
    # a local original is known by its name alone, so the copy's own address is the one to type
    uri = record.source.uri if record.source.url else opened.uri
    return replace(record.source, uri=uri, url=opened.url)


def _in_words(left_out: Sequence[LeftOut]) -> str:
    listed = ", ".join(f"{item.path} ({item.reason})" for item in left_out)
    return f"{len(left_out)} arrays were left out: {listed}"
