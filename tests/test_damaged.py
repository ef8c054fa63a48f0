"""Damaged files: read, or refused in one line. No traceback, no hang, no crash, limited memory."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from damaged_files import BROKEN, DEADLY, FILES, READ, REFUSED, damage, judge_each
from nwb_files import nwb, rois, traces, units

import nwbdyn
from nwbdyn.data import clock
from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import heaps, objects, ranges
from nwbdyn.nwb.read.objects import ErrorRecordingFile


@pytest.mark.parametrize(
    ("first", "number"), [(0, 60), pytest.param(60, 440, marks=pytest.mark.slow)]
)
def test_real_recordings_with_damaged_bytes_are_read_or_refused_in_one_line(
    first, number, data, tmp_path
):
    intact = [(data / name).read_bytes() for name in FILES]
    paths = []
    for seed in range(first, first + number):
        path = tmp_path / f"{seed}.nwb"
        path.write_bytes(damage(intact[seed % len(FILES)], seed))
        paths.append(path)
    outcomes = judge_each(paths, tmp_path)
    assert [outcome for outcome in outcomes if outcome.status == BROKEN] == []
    assert len(outcomes) == number
    # damage that is always harmless, or always fatal, would prove nothing
    for status in (READ, REFUSED):
        assert sum(outcome.status == status for outcome in outcomes) > number / 10


def test_intact_recordings_are_read(data, tmp_path):
    outcomes = judge_each([data / name for name in FILES], tmp_path)
    assert {outcome.status for outcome in outcomes} == {READ}


def test_a_worker_that_dies_names_the_file_and_the_next_one_goes_on(data, tmp_path):
    outcomes = judge_each([Path(DEADLY), data / FILES[0]], tmp_path)
    assert [outcome.status for outcome in outcomes] == [BROKEN, READ]
    assert (outcomes[0].path, outcomes[0].message[:8]) == (DEADLY, "exit -9:")


def test_files_that_ended_in_a_traceback_do_so_no_more(data, tmp_path):
    paths = sorted((data.parent / "cases" / "damaged").glob("*.nwb"))
    if not paths:
        pytest.skip("no ../shared/cases/damaged")
    outcomes = judge_each(paths, tmp_path)
    assert [outcome for outcome in outcomes if outcome.status == BROKEN] == []


# One kind of damage each


@pytest.mark.parametrize("time", [1e18, -1e18, 1e300, -1e300, 1e307, -1.7e308])
def test_a_time_that_no_integer_holds_stays_in_order(time):
    moments = clock.milliseconds(np.array([0.0, 1.0, time]))
    assert moments.tolist()[:2] == [0, 1000]
    assert np.sign(moments[2]) == np.sign(time)
    for width in (0.02, 0.0133):
        for index in (clock.grid_index, clock.grid_ceil):
            assert np.sign(index(np.array([time]), width)[0]) == np.sign(time)
    assert clock.observed(np.array([0.5, time]), np.array([[0.0, 2.0]])).tolist() == [True, False]


def test_masks_of_a_table_that_cannot_be_reached_by_name_are_read(tmp_path, monkeypatch):
    points = np.zeros(5, dtype=[("x", "u4"), ("y", "u4"), ("weight", "f4")])
    points["x"], points["weight"] = [3, 1, 4, 1, 5], 1
    with nwb(tmp_path / "a.nwb") as file:
        segmentation = rois(file)
        traces(file, rois=segmentation)
        segmentation["pixel_mask"] = points
        segmentation["pixel_mask_index"] = np.arange(1, 6)
    monkeypatch.setattr(h5py.Dataset, "name", property(lambda _: None))
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        assert recording.neurons.table["x"].tolist() == [3, 1, 4, 1, 5]


def test_a_file_that_h5py_cannot_hash_is_read(tmp_path, monkeypatch):
    def refuse(_: object) -> int:
        raise TypeError("Objects of class FileID cannot be hashed")

    with nwb(tmp_path / "a.nwb") as file:
        units(file)
    monkeypatch.setattr(h5py.File, "__hash__", refuse)
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        assert recording.neurons.kind == "unit"


def test_bytes_of_a_damaged_chunk_index_are_unknown():
    def broken() -> int:
        raise RuntimeError("Unable to get storage size (bad coordinate offset)")

    dataset = SimpleNamespace(
        id=SimpleNamespace(get_storage_size=broken),
        external=None,
        is_virtual=False,
        dtype=np.dtype(float),
        shape=(10,),
        chunks=(5,),
    )
    assert ranges.stored(dataset) is None


def heap(*parts: tuple[int, int], size: int = 4096) -> bytes:
    """A global heap that lists objects (index, size)."""
    content = b"GCOL\x01\x00\x00\x00" + size.to_bytes(8, "little")
    for index, length in parts:
        content += index.to_bytes(2, "little") + bytes(6) + length.to_bytes(8, "little")
        content += bytes(-(-min(length, size) // 8) * 8 if index else 0)
    return content.ljust(size, b"\x00")[:size] if parts and parts[-1][0] else content


@pytest.mark.parametrize(
    ("parts", "is_endless"),
    [
        (((1, 5), (2, 16), (0, 4024)), False),
        (((1, 5), (0, 0)), True),  # free space that takes none
        (((1, 2**64 - 16), (0, 0)), True),  # header and size add up to 0 in 64 bits
        (((1, 2**63),), True),
        (((0, 4080),), False),
    ],
)
def test_a_heap_that_hdf5_would_never_leave_is_recognised(parts, is_endless):
    assert heaps.is_endless(heap(*parts)) is is_endless


def test_hdf5_never_sees_a_heap_that_it_would_hang_in(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100) + heap((1, 5), (0, 0)) + bytes(4096))
    with path.open("rb") as file:
        watched = ErrorRecordingFile(file)
        watched.seek(40)
        with pytest.raises(OSError, match="heap of texts at address 100 is damaged"):
            watched.readinto(bytearray(512))
        assert watched.error is None  # damage, not a lost byte
    path.write_bytes(bytes(100) + heap((1, 5), (0, 4056)))
    with path.open("rb") as file:
        watched = ErrorRecordingFile(file)
        watched.seek(100)
        assert watched.read(8) == b"GCOL\x01\x00\x00\x00"
        assert watched.tell() == 108


def test_what_h5py_raises_is_damage_whatever_its_class(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        with pytest.raises(KeyError) as missing:
            file["nothing"]
        assert objects.is_damage(missing.value)
    with pytest.raises(KeyError) as ours:
        {}["nothing"]
    assert not objects.is_damage(ours.value)


def test_values_that_cannot_be_unpacked_are_refused_with_their_path(tmp_path, monkeypatch):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))

    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        monkeypatch.setattr(
            h5py.Dataset, "__getitem__", lambda *_: (_ for _ in ()).throw(ValueError("bad"))
        )
        with pytest.raises(ReadError, match="cannot be read"):
            recording.activity.data[:]
