"""Masks of ROIs, as lists of points and as pictures: where ROIs lie, and which overlap."""

import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO
from nwb_files import noted, opened
from pynwb import NWBHDF5IO, NWBFile
from pynwb.core import VectorData
from pynwb.ophys import (
    Fluorescence,
    ImageSegmentation,
    OpticalChannel,
    PlaneSegmentation,
)
from standin import StandIn

import nwbdyn
from nwbdyn import archive, streaming
from nwbdyn.nwb.read.imaging import pictures
from nwbdyn.nwb.read.recording import read
from nwbdyn.statistics import artefacts
from nwbdyn.workflows import fetch

GRID = (2.0, 3.0, 4.0)  # micrometres


def pictures_of(*shape, seed=0):
    """(5, *shape) weights: two ROIs that overlap, one far away, one empty, one that is near."""
    draw = np.random.default_rng(seed)
    masks = np.zeros((5, *shape))
    masks[0, 2:6, 2:5] = draw.uniform(0.1, 1, (4, 3, *shape[2:]))
    masks[1, 4:9, 3:8] = draw.uniform(0.1, 1, (5, 5, *shape[2:]))
    masks[2, 30:33, 20:22] = 1
    masks[4, 9:12, 8:10] = 0.5
    return masks


def write(path, masks, *, as_points=False, columns=(), num_other_bytes=0):
    """A session whose ROIs have these masks; `masks` is an array, or a H5DataIO of one."""
    nwbfile = NWBFile("a session", "masks-1", datetime(2024, 1, 1, tzinfo=UTC))
    values = masks.data if isinstance(masks, H5DataIO) else masks
    num_axes = values.ndim - 1
    plane = nwbfile.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="green", description="green", emission_lambda=500.0),
        description="a plane",
        device=nwbfile.create_device(name="microscope"),
        excitation_lambda=900.0,
        indicator="GCaMP6f",
        location="VISp",
        grid_spacing=list(GRID[:num_axes]),
        grid_spacing_unit="micrometers",
    )
    name = "cells"
    if as_points:
        cells = PlaneSegmentation(name=name, description="cells", imaging_plane=plane)
        for one in values:
            listed = [(*position, one[position]) for position in zip(*np.nonzero(one), strict=True)]
            listed = listed or [(0,) * (num_axes + 1)]  # pynwb takes no empty list
            cells.add_roi(**{"pixel_mask" if num_axes == 2 else "voxel_mask": listed})
    else:
        column = VectorData(name="image_mask", description="masks", data=masks)
        cells = PlaneSegmentation(
            name=name,
            description="cells",
            imaging_plane=plane,
            columns=[column, *(VectorData(**one) for one in columns)],
            id=np.arange(len(values)),
        )
    module = nwbfile.create_processing_module(name="ophys", description="imaging")
    module.add(ImageSegmentation(plane_segmentations=[cells]))
    rois = cells.create_roi_table_region(region=list(range(len(values))), description="all")
    num_frames = max(50, num_other_bytes // (8 * len(values)))
    data = np.random.default_rng(1).normal(size=(num_frames, len(values)))
    fluorescence = Fluorescence()
    module.add(fluorescence)
    fluorescence.create_roi_response_series(
        name="RoiResponseSeries", data=data, rois=rois, unit="a", rate=10.0
    )
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def unread(recording):
    """Why masks were not read."""
    (reason,) = (note.reason for note in recording.notes if note.code == "masks-unread")
    return reason


def positions(neurons, axes="xyz"):
    return neurons.table[[axis for axis in axes if axis in neurons.table]].to_numpy()


def overlapping(masks):
    """The pairs that share a point, and the share of the smaller one, one pair after another."""
    inside = masks > 0
    pairs = {}
    for first in range(len(masks)):
        for second in range(first + 1, len(masks)):
            shared = (inside[first] & inside[second]).sum()
            if shared:
                smaller = min(inside[first].sum(), inside[second].sum())
                pairs[first, second] = shared / smaller
    return pairs


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 6)])
def test_pictures_say_what_lists_of_the_same_points_say(tmp_path, shape):
    masks = pictures_of(*shape).astype(np.float32)  # as lists have them
    listed = write(tmp_path / "points.nwb", masks, as_points=True)
    packed = H5DataIO(masks, compression="gzip", chunks=(2, 16, 7, 4)[: masks.ndim])
    for name, data in (("plain.nwb", masks), ("packed.nwb", packed)):
        with opened(write(tmp_path / name, data)) as drawn, opened(listed) as points:
            assert drawn.neurons.table.equals(points.neurons.table)
            assert drawn.neurons.overlaps.tolist() == points.neurons.overlaps.tolist()
            np.testing.assert_allclose(drawn.neurons.micrometres, GRID[: len(shape)])
            assert not {"masks-unread", "no-positions"} & set(noted(drawn))


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 6)])
def test_centres_and_overlaps_are_those_of_the_pictures(tmp_path, shape):
    masks = pictures_of(*shape)
    with opened(write(tmp_path / "a.nwb", masks)) as recording:
        neurons = recording.neurons
    grid = np.indices(shape).reshape(len(shape), -1)
    for roi in (0, 1, 2, 4):
        expected = grid @ masks[roi].reshape(-1) / masks[roi].sum()
        np.testing.assert_allclose(positions(neurons)[roi], expected)
    pairs = {(int(a), int(b)): share for a, b, share in neurons.overlaps}
    assert pairs == pytest.approx(overlapping(masks))
    assert set(pairs) == {(0, 1)}


def test_an_empty_mask_lies_nowhere_and_on_nobody(tmp_path):
    masks = pictures_of(40, 30)
    with opened(write(tmp_path / "a.nwb", masks)) as recording:
        assert np.isnan(positions(recording.neurons)[3]).all()
    with opened(write(tmp_path / "b.nwb", 0 * masks)) as recording:
        assert np.isnan(positions(recording.neurons)).all()
        assert recording.neurons.overlaps.shape == (0, 3)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_pictures_of_any_kind_of_number_are_read(tmp_path, kind):
    masks = (pictures_of(40, 30) > 0).astype(kind)
    with opened(write(tmp_path / "a.nwb", masks)) as recording:
        assert recording.neurons.overlaps[:, :2].tolist() == [[0, 1]]


def test_edges_between_overlapping_and_close_rois_are_flagged(tmp_path):
    with opened(write(tmp_path / "a.nwb", pictures_of(40, 30))) as recording:
        flags, _ = artefacts.flags(recording.neurons, None)
    position = positions(recording.neurons) * GRID[:2]
    apart = np.linalg.norm(position[:, None] - position, axis=-1)
    assert flags[0, 1] == flags[1, 0] == "overlapping ROIs, close ROIs"
    assert {tuple(pair) for pair in np.argwhere(flags == "close ROIs").tolist()} == {
        (i, j) for i, j in np.argwhere(apart < 20).tolist() if i != j and {i, j} != {0, 1}
    }


@pytest.mark.parametrize("unit", ["pixels", "elsewhere"])
def test_stated_centres_take_the_grid_s_unit_where_they_are_in_pixels(tmp_path, unit):
    masks = pictures_of(40, 30)
    masks[3, 35, 25] = 1
    centres = np.array([[np.average(axis, weights=one) for axis in np.indices((40, 30))] for one in
                        masks])  # fmt: skip
    if unit == "elsewhere":
        centres = 7 * centres + 100
    column = {"name": "ROICentroids", "description": "The x, y centroids.", "data": centres}
    with opened(write(tmp_path / "a.nwb", masks, columns=[column])) as recording:
        neurons = recording.neurons
    np.testing.assert_array_equal(positions(neurons), centres)
    assert neurons.overlaps[:, :2].tolist() == [[0, 1]]
    assert (neurons.micrometres is not None) == (unit == "pixels")


@pytest.mark.parametrize(
    ("shape", "chunks", "itemsize"),
    [((7, 5000, 3000), None, 8), ((70, 600, 500), (63, 64, 64), 8), ((3, 10, 10, 4), None, 1)],
)
def test_tiles_cover_every_value_once_in_whole_chunks(shape, chunks, itemsize):
    seen = 0
    for tile in pictures.tiles(shape, chunks, itemsize):
        lengths = [axis.stop - axis.start for axis in tile]
        assert np.prod(lengths) * itemsize <= pictures.TILE
        for axis, length, chunk in zip(tile, shape, chunks or (1,) * len(shape), strict=True):
            assert axis.start % chunk == 0
            assert axis.stop % chunk == 0 or axis.stop == length
        seen += np.prod(lengths)
    assert seen == np.prod(shape)


def test_pictures_are_never_in_memory_as_a_whole(tmp_path):
    masks = np.zeros((300, 256, 256))  # 157 MB
    for number, one in enumerate(masks):
        one[number % 250 : number % 250 + 6, 100:106] = 1
    path = write(tmp_path / "a.nwb", H5DataIO(masks, compression="gzip"))
    expected = set(overlapping(masks[:60]))
    del masks
    tracemalloc.start()
    with opened(path) as recording:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * pictures.TILE
        pairs = {(int(a), int(b)) for a, b, _ in recording.neurons.overlaps}
    assert {pair for pair in pairs if max(pair) < 60} == expected


def test_pictures_as_large_as_no_lab_s_are_left_alone(tmp_path, monkeypatch):
    path = write(tmp_path / "a.nwb", pictures_of(40, 30))
    for name, words in (
        ("MOST_POINTS", "mark more than 9 points"),
        ("MOST_UNPACKED", "GB unpacked"),
        ("MOST_CHUNK", "in pieces of"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(pictures, name, 9)
            patch.setattr("nwbdyn.nwb.read.imaging.masks.MOST_POINTS", 9)
            packed = H5DataIO(pictures_of(40, 30), compression="gzip")
            with opened(write(path, packed)) as recording:
                assert words in unread(recording)
                assert recording.neurons.overlaps is None


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """An archive with one file, and its address."""
    for name in ("DANDI_API_KEY", "DANDI_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DANDI_NO_ET", "1")
    folder = tmp_path / "archive" / "000009" / "sub-a"
    folder.mkdir(parents=True)
    with StandIn(tmp_path / "archive") as running:
        yield folder / "sub-a_ophys.nwb", running


def test_a_remote_file_gives_its_packed_pictures_and_little_else(remote):
    path, archived = remote
    masks = np.zeros((200, 512, 512), np.uint8)  # 52 MB
    for number, one in enumerate(masks):
        one[2 * number : 2 * number + 6, 100:110] = 1
    write(path, H5DataIO(masks, compression="gzip"), num_other_bytes=30_000_000)
    assert path.stat().st_size > 30_000_000
    source = archive.resolve("dandi:000009", instance=archived.api)[0]
    with streaming.open_file(source) as file, read(file, source) as recording:
        pairs = {(int(a), int(b)) for a, b, _ in recording.neurons.overlaps}
        assert pairs == {(n, m) for n in range(200) for m in (n + 1, n + 2) if m < 200}
        assert file.transferred < 3_000_000  # both ends of the file are 1.5 MB


def test_masks_that_weigh_too_much_are_left_in_the_archive(remote, tmp_path):
    path, archived = remote
    masks = np.random.default_rng(0).random((36, 360, 360)) * (np.arange(360) < 40)  # 37 MB
    write(path, masks)
    source = archive.resolve("dandi:000009", instance=archived.api)[0]
    with streaming.open_file(source) as file, read(file, source) as recording:
        assert "take 36 MB of a remote file, 32 at most; run nwbdyn fetch" in unread(recording)
        assert recording.neurons.overlaps is None
        assert file.transferred < 3_000_000
    copy = fetch.fetch(source, tmp_path / "copy").path
    with nwbdyn.open(str(copy)) as recording:
        assert len(recording.neurons.overlaps) == 36 * 35 / 2
