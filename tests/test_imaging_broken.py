"""One bad object of an imaging file costs itself: types, byte orders, filters, links."""

import sys

import h5py
import numpy as np
import pytest
from nwb_files import (
    NUM_FRAMES,
    NUM_ROIS,
    made,
    noted,
    nwb,
    opened,
    rois,
    series,
    traces,
)

from nwbdyn.errors import NoActivityError

VALUES = made(NUM_FRAMES, NUM_ROIS)
BLOSC, PRIVATE = 32001, 40123  # a filter of hdf5plugin, and one that nobody has


def filtered(group: h5py.Group, name: str, code: int) -> None:
    """The dataset again, as if compressed by a filter of this number."""
    values = group[name][()]
    attributes = dict(group[name].attrs)
    del group[name]
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(values.shape)
    created.set_filter(code, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(values.shape)
    kind = h5py.h5t.py_create(values.dtype)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, created))
    dataset.id.write_direct_chunk((0,) * values.ndim, values.tobytes(), 0)
    dataset.attrs.update(attributes)


def test_a_filter_that_is_not_installed_is_named_with_what_installs_it(tmp_path, monkeypatch):
    here = h5py.h5z.filter_avail
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != BLOSC and here(code))
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)  # importing it fails
    with nwb(tmp_path / "a.nwb") as file:
        filtered(traces(file, rois=rois(file)), "data", BLOSC)
    message = r"DfOverF/RoiResponseSeries/data is compressed by the filter 'blosc' \(32001\).*"
    message += "pip install hdf5plugin"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass


def test_values_that_hdf5plugin_compressed_are_read_where_it_is_installed(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    with nwb(tmp_path / "a.nwb") as file:
        group = traces(file, rois=rois(file))
        attributes = dict(group["data"].attrs)
        del group["data"]
        group.create_dataset("data", data=VALUES, chunks=(10, 5), **hdf5plugin.Blosc(cname="zstd"))
        group["data"].attrs.update(attributes)
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.data, VALUES)


@pytest.mark.parametrize("name", ["data", "rois", "timestamps"])
def test_an_unknown_filter_costs_one_series(tmp_path, name):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file)
        times = np.arange(NUM_FRAMES) / 10
        filtered(traces(file, "dff", rois=cells, timestamps=times), name, PRIVATE)
        traces(file, "F", container="Fluorescence", rois=cells, timestamps=times)
    with opened(tmp_path / "a.nwb") as recording:
        reason = next(n.reason for n in recording.notes if n.code == "missing-filter")
        assert "'unknown' (40123)" in reason
        np.testing.assert_array_equal(recording.activity.data, VALUES)
        expected = "dff" if name == "rois" else "fluorescence"  # the table is as long as the traces
        assert recording.activity.quantity == expected


def test_an_unknown_filter_of_a_column_a_mask_or_behaviour_costs_these(tmp_path):
    point = np.dtype([("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file, quality=np.arange(5.0), depth=np.arange(5.0))
        filtered(cells, "depth", PRIVATE)
        cells["pixel_mask"] = np.zeros(5, point)
        cells["pixel_mask_index"] = np.arange(1, 6)
        filtered(cells, "pixel_mask", PRIVATE)
        traces(file, rois=cells)
        speed = series(file["acquisition"], "speed", np.arange(9.0), rate=1.0)
        filtered(speed, "data", PRIVATE)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table.columns.tolist() == ["id", "quality"]
        assert recording.covariates == ()
        np.testing.assert_array_equal(recording.activity.data, VALUES)


def test_an_enumerated_column_is_read_by_its_names(tmp_path):
    kinds = h5py.enum_dtype({"pyramidal": 1, "interneuron": 2}, basetype="u1")
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file, quality=np.arange(5.0))
        cells.attrs["colnames"] = np.array(["quality", "cell_type"], dtype=h5py.string_dtype())
        cells.create_dataset("cell_type", data=np.array([1, 2, 2, 1, 9], "u1"), dtype=kinds)
        traces(file, rois=cells)
    with opened(tmp_path / "a.nwb") as recording:
        types = recording.neurons.table["cell_type"].tolist()
        assert types == ["pyramidal", "interneuron", "interneuron", "pyramidal", "9"]


def test_values_of_the_other_byte_order_are_read_alike(tmp_path):
    point = np.dtype([("x", ">u4"), ("y", ">u4"), ("weight", ">f4")])
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(
            file, quality=np.arange(5, dtype=">f8"), iscell=np.array([1, 0, 1, 1, 1], ">i4")
        )
        cells["pixel_mask"] = np.array([(10 * k, k, 1) for k in range(5)], point)
        cells["pixel_mask_index"] = np.arange(1, 6, dtype=">u2")
        traces(
            file,
            rois=cells,
            rows=np.arange(NUM_ROIS, dtype=">i4"),
            data=VALUES.astype(">f4"),
            timestamps=np.arange(NUM_FRAMES, dtype=">f8") / 10,
        )
    with opened(tmp_path / "a.nwb") as recording:
        data = np.asarray(recording.activity.data)
        assert data.dtype.isnative
        np.testing.assert_array_equal(data, VALUES.astype("f4"))
        table = recording.neurons.table
        assert table["x"].tolist() == [0, 10, 20, 30, 40]
        assert table["quality"].sum() == 10
        assert all(getattr(kind, "isnative", True) for kind in table.dtypes)


def test_times_in_another_file_are_named_with_what_to_do(tmp_path):
    with h5py.File(tmp_path / "times.h5", "w") as other:
        other["t"] = np.arange(NUM_FRAMES) / 10
    with nwb(tmp_path / "a.nwb") as file:
        group = traces(file, rois=rois(file), timestamps=np.arange(NUM_FRAMES) / 10)
        del group["timestamps"]
        group["timestamps"] = h5py.ExternalLink("times.h5", "t")
    message = "links to another file, 'times.h5', which is not followed; copy the values into this"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass
    with opened(tmp_path / "a.nwb", frame_rate=10.0) as recording:
        assert recording.activity.timestamps[-1] == pytest.approx((NUM_FRAMES - 1) / 10)
        assert "external-link" in noted(recording)


@pytest.mark.parametrize("dangling", ["rois", "timestamps"])
def test_rois_and_times_that_are_links_are_followed_or_cost_what_they_are(tmp_path, dangling):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file, quality=np.arange(9.0))
        rows = np.array([8, 1, 2, 3, 4])
        times = 7 + np.arange(NUM_FRAMES) / 10
        first = traces(file, "F", container="Fluorescence", rois=cells, rows=rows, timestamps=times)
        second = traces(file, "dff", rois=cells, rows=rows, data=VALUES + 1, timestamps=times)
        for name in ("rois", "timestamps"):
            del second[name]
            second[name] = h5py.SoftLink(f"{first.name}/{name}")
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.quantity == "dff"
        assert recording.neurons.ids.tolist() == rows.tolist()
        assert recording.activity.timestamps[0] == 7
    with h5py.File(tmp_path / "a.nwb", "a") as file:
        second = file["processing/ophys/DfOverF/dff"]
        del second[dangling]
        second[dangling] = h5py.SoftLink("/rois")
    with opened(tmp_path / "a.nwb") as recording:
        assert noted(recording)["broken-link"].endswith(f"/{dangling}")
        expected = "dff" if dangling == "rois" else "fluorescence"
        assert recording.activity.quantity == expected
