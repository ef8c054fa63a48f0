"""Which axis of the traces is time, and whose they are, however the file says it."""

import h5py
import numpy as np
import pytest
from nwb_files import (
    NUM_FRAMES,
    NUM_ROIS,
    important,
    made,
    noted,
    nwb,
    opened,
    rois,
    series,
    traces,
    trials,
)

from nwbdyn.errors import ConfigError, NoActivityError
from nwbdyn.nwb.read.imaging.orientation import Evidence, time_axis

NEURONS_FIRST = made(NUM_FRAMES, NUM_ROIS).T
LABELS = ["b", "a", "c", "b", "d"]


def rewrite(group: h5py.Group, name: str, values) -> None:
    """Another value in the place of a dataset, with its attributes."""
    attributes = dict(group[name].attrs)
    del group[name]
    group[name] = values
    group[name].attrs.update(attributes)


@pytest.mark.parametrize(
    "stored",
    [
        np.array([4, 0, 3, 1, 2], "f8"),
        np.array([4, 0, 3, 1, 2], ">i2"),
        np.array([[4], [0], [3], [1], [2]]),
        np.array([[4.0, 0.0, 3.0, 1.0, 2.0]]),
        np.array([5, 1, 4, 2, 3]),
        np.array([5, 1, 4, 2, 3], "f4"),
    ],
    ids=["doubles", "big-endian", "a column", "a row", "from one", "doubles from one"],
)
@pytest.mark.parametrize("turned", [True, False], ids=["neurons first", "time first"])
def test_rois_of_any_form_name_the_same_neurons(tmp_path, stored, turned):
    with nwb(tmp_path / "a.nwb") as file:
        cells = rois(file, cell_type=LABELS)
        group = traces(file, rois=cells, data=NEURONS_FIRST if turned else NEURONS_FIRST.T)
        rewrite(group, "rois", stored)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == [4, 0, 3, 1, 2]
        assert recording.neurons.table["cell_type"].tolist() == ["d", "b", "b", "a", "c"]
        np.testing.assert_array_equal(recording.activity.data, made(NUM_FRAMES, NUM_ROIS))
        assert ("transposed" in noted(recording)) == turned


def test_rois_that_are_no_rows_number_the_neurons_and_still_count_them(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = traces(file, rois=rois(file, cell_type=LABELS), data=NEURONS_FIRST)
        rewrite(group, "rois", np.array([0.0, 1.0, 2.5, 3.0, np.nan]))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.data.shape == (NUM_FRAMES, NUM_ROIS)
        assert recording.neurons.table.columns.tolist() == ["id"]
        assert "broken-reference" in noted(recording)


@pytest.mark.parametrize("turned", [True, False], ids=["neurons first", "time first"])
def test_without_rois_the_table_as_long_as_an_axis_names_the_neurons(tmp_path, turned):
    with nwb(tmp_path / "a.nwb") as file:
        rois(file, cell_type=LABELS)
        traces(file, data=NEURONS_FIRST if turned else NEURONS_FIRST.T)
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.data, made(NUM_FRAMES, NUM_ROIS))
        assert recording.neurons.table["cell_type"].tolist() == LABELS
        assert "5 rows of" in next(n.reason for n in recording.notes if n.code == "no-rois")


def test_without_rois_planes_of_equal_length_are_told_by_their_names(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for number in (1, 2):
            rois(file, f"FOV{number}", cell_type=[f"{number}{label}" for label in LABELS])
            traces(file, f"dff_FOV{number}", data=NEURONS_FIRST + number)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.data.shape == (NUM_FRAMES, 2 * NUM_ROIS)
        types = recording.neurons.table["cell_type"].tolist()
        assert types == [f"{number}{label}" for number in (1, 2) for label in LABELS]


def test_without_rois_and_table_the_session_says_which_axis_is_time(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, data=NEURONS_FIRST, rate=1.0)
        trials(file, stop=float(NUM_FRAMES))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.data.shape == (NUM_FRAMES, NUM_ROIS)


def test_where_nothing_says_which_axis_is_time_the_file_is_refused_until_it_is_said(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, data=NEURONS_FIRST)
    message = r"is 5 x 40, .* pass --time-axis 0 \(the first\) or --time-axis 1 \[ambiguous-axes\]"
    with pytest.raises(NoActivityError, match=message), opened(tmp_path / "a.nwb"):
        pass
    for axis, shape in ((0, (NUM_ROIS, NUM_FRAMES)), (1, (NUM_FRAMES, NUM_ROIS))):
        with opened(tmp_path / "a.nwb", time_axis=axis) as recording:
            assert recording.activity.data.shape == shape
    with pytest.raises(ConfigError, match="time axis"), opened(tmp_path / "a.nwb", time_axis=2):
        pass


def test_an_ambiguous_series_costs_itself_and_is_noted_above_all(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, data=NEURONS_FIRST)
        traces(file, "F", container="Fluorescence", data=NEURONS_FIRST.T)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.quantity == "fluorescence"
        assert "ambiguous-axes" in important(recording)


@pytest.mark.parametrize(
    ("shape", "evidence", "expected"),
    [
        ((5, 40), {"num_rois": 5}, 1),
        ((40, 5), {"num_rois": 5}, 0),
        ((5, 5), {"num_rois": 5}, 0),
        ((5, 40), {"num_times": 40}, 1),
        ((5, 40), {"num_times": 5}, 0),
        ((5, 40), {"table_rows": [5]}, 1),
        ((5, 40), {"table_rows": [40]}, 0),
        ((5, 40), {"table_rows": [5, 40]}, None),
        ((5, 40), {"rate": 10.0, "durations": lambda: [4.0]}, 1),
        ((5, 40), {"rate": 10.0, "durations": lambda: [0.5]}, 0),
        ((5, 40), {"rate": 10.0, "durations": lambda: [1.2]}, None),
        ((5, 40), {"rate": 10.0}, None),
        ((0, 5), {"rate": 10.0, "durations": lambda: [0.5]}, 1),
        ((40, 5), {}, 0),
        # the earlier evidence wins
        ((5, 40), {"num_rois": 40, "num_times": 40, "table_rows": [5]}, 0),
    ],
)
def test_the_time_axis_follows_the_first_evidence_that_fits_one_axis(shape, evidence, expected):
    nothing = {"num_rois": None, "num_times": None, "table_rows": [], "rate": None}
    assert time_axis(shape, Evidence(**nothing | {"durations": list} | evidence)) == expected


def test_as_many_frames_as_rois_are_time_first(tmp_path):
    square = np.random.default_rng(0).normal(size=(NUM_ROIS, NUM_ROIS))
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file), data=square, timestamps=np.arange(NUM_ROIS) / 10)
    with opened(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.activity.data, square)


def test_rois_beside_a_behaviour_of_the_same_length_stay_as_they_are(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
        series(file["acquisition"], "speed", np.arange(NUM_ROIS), rate=10.0)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.data.shape == (NUM_FRAMES, NUM_ROIS)
