"""The byte ranges planned for a dataset are those its values are read from."""

import h5py
import numpy as np
import pytest

from nwbdyn.nwb.read import ranges

ROWS = 40_000


@pytest.fixture(params=["contiguous", "chunked", "narrow", "gzip"])
def path(request, tmp_path):
    """(40,000, 10) float64, 3.2 MB, in one of four layouts, behind something else."""
    values = np.random.default_rng(0).random((ROWS, 10))
    options = {
        "contiguous": {},
        "chunked": {"chunks": (1000, 10)},
        "narrow": {"chunks": (3000, 3)},
        "gzip": {"chunks": (5000, 10), "compression": "gzip"},
    }[request.param]
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["before"] = np.arange(1000)
        file.create_dataset("values", data=values, **options)
    return tmp_path / "file.h5"


@pytest.mark.parametrize(
    "key", [(), slice(5000, 30_000), (slice(0, 20_000), slice(0, 2)), np.arange(ROWS) % 2 == 0]
)
def test_bytes_outside_the_plan_do_not_matter(path, key):
    with h5py.File(path) as file:
        expected = file["values"][key]
        planned = ranges.wanted(file["values"], key)
        stored = _stored(file["values"])
    content = np.fromfile(path, np.uint8)
    for start, stop in stored:
        unplanned = np.ones(stop - start, bool)
        for first, after in planned:
            unplanned[max(first - start, 0) : max(after - start, 0)] = False
        content[start:stop][unplanned] = 255
    content.tofile(path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["values"][key], expected)


def _stored(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    """(start, stop) bytes of everything the dataset stores."""
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        return [(start, start + dataset.id.get_storage_size())]
    chunks = [dataset.id.get_chunk_info(number) for number in range(dataset.id.get_num_chunks())]
    return [(chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks]


def test_rows_outside_the_key_are_not_planned(path):
    with h5py.File(path) as file:
        part = ranges.wanted(file["values"], slice(10_000, 25_000))
        whole = ranges.wanted(file["values"], ())
    assert 0 < sum(b - a for a, b in part) <= 0.51 * sum(b - a for a, b in whole)


def test_what_is_small_or_elsewhere_is_not_planned(path):
    with h5py.File(path) as file:
        assert ranges.wanted(file["values"], slice(0, 100)) == []
        assert ranges.wanted(file["values"], 7) == []
        assert ranges.wanted(file["values"], np.zeros(ROWS, bool)) == []
        assert ranges.wanted(file["before"], ()) == []
    with h5py.File(path, "a") as file:
        file["one"] = 3.0
        file["words"] = ["a"] * 200_000
        file.create_dataset("never_written", (ROWS, 10), dtype="f8")
        assert [ranges.wanted(file[name], ()) for name in ("one", "words", "never_written")] == [
            []
        ] * 3
