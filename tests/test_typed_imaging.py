"""Imaging of typed cells over several days, laid out as Bugeon et al. 2022 are: a miniature of it.

PlaneSegmentation with unique_id, cell_type (in full), cell_class (text before the first "-") and
cell_type_prob; traces with explicit timestamps; intervals of three behavioural states.
"""

import numpy as np
import pytest
from nwb_files import nwb, rois, table, traces

import nwbdyn
from nwbdyn.workflows.joint import fit_joint
from nwbdyn.workflows.joint_task import build_joint_task

TYPES = ("EC-Cux2", "EC-Rorb", "Pvalb-Tac1", "Pvalb-Vipr2", "Sst-Calb2", "Vip-Cp", "EC-Cux2", "")
PROBABILITY = (0.9, 0.8, 0.95, 0.4, 0.7, 0.99, 0.9, 0.0)
CLASSES = ["EC", "Pvalb", "Sst", "Vip"]
FRAMES, RATE = 400, 4.3  # Hz, as two-photon planes come
OPTIONS = {"history": 4, "epochs": 2, "ridge": 3000.0}


def write(path, ids, seed):
    """One day: its neurons, in another order every day, and what the mouse did."""
    rng = np.random.default_rng(seed)
    data = np.zeros((FRAMES, len(ids)))
    for t in range(1, FRAMES):
        data[t] = 0.7 * data[t - 1] + 0.1 * rng.normal(size=len(ids))
    clock = np.arange(FRAMES) / RATE + rng.normal(0, 1e-3, FRAMES)
    with nwb(path) as file:
        file["general/subject/subject_id"] = "SB025"
        cells = rois(
            file,
            "PlaneSegmentation",
            unique_id=np.array(ids),
            cell_type=[TYPES[n] for n in ids],
            cell_class=[TYPES[n].split("-")[0] for n in ids],
            cell_type_prob=np.array([PROBABILITY[n] for n in ids]),
        )
        traces(file, rois=cells, data=data.astype(np.float32), timestamps=clock)
        table(
            file["intervals"],
            "behavioral_state",
            "TimeIntervals",
            start_time=clock[[0, 120, 250]],
            stop_time=clock[[119, 249, 399]],
            state=np.array([0, 2, 1]),
        )
    return path


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("days")
    return (
        write(folder / "SB025-day1.nwb", [0, 1, 2, 3, 4, 5], seed=0),
        write(folder / "SB025-day2.nwb", [5, 2, 6, 7, 0, 3], seed=1),
    )


def test_types_classes_and_probabilities_are_read_and_choose_neurons(days):
    with nwbdyn.open(str(days[0])) as recording:
        neurons = recording.neurons.table
        assert neurons["unique_id"].tolist() == [0, 1, 2, 3, 4, 5]
        assert neurons["cell_type"].tolist() == list(TYPES[:6])
        assert recording.activity.quantity == "dff"
    chosen = {"cell_type_column": "cell_class", "where": "cell_type_prob > 0.5"}
    with nwbdyn.open(str(days[0]), **chosen) as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["EC", "EC", "Pvalb", "Sst", "Vip"]


def test_a_neuron_is_the_same_on_both_days_by_its_unique_id(days):
    with nwbdyn.open(str(days[0])) as first, nwbdyn.open(str(days[1])) as second:
        joint = build_joint_task([first, second], "netformer", seed=0, neuron_id="unique_id")
    assert joint.layout.neuron_ids["SB025-day1"] == (0, 1, 2, 3, 4, 5)
    assert joint.layout.neuron_ids["SB025-day2"] == (5, 2, 6, 7, 0, 3)
    assert joint.num_shared == 4


def test_each_state_has_its_own_matrix_of_classes_from_whole_windows(days):
    with (
        nwbdyn.open(str(days[0]), cell_type_column="cell_class") as first,
        nwbdyn.open(str(days[1]), cell_type_column="cell_class") as second,
    ):
        states = first.intervals["behavioral_state"]
        fits = fit_joint(
            [first, second],
            "netformer",
            neuron_id="unique_id",
            options=OPTIONS | {"type_weight": 0.1},
        )
    made = fits["SB025-day1"]
    assert made.weights["type_mean"].shape == (4, 4)
    for state in (0, 1, 2):
        intervals = states[states["state"] == state]
        blocks = made.connectivity.by_cell_type(mask=intervals)
        assert blocks["post_type"].values.tolist() == CLASSES
        mean = blocks.mean("time").to_numpy()
        # the same from matrices, one window after the other
        inside = [
            made.connectivity.at(time).to_numpy()
            for time in made.connectivity.time
            for start, stop in zip(intervals["start_time"], intervals["stop_time"], strict=True)
            if time + made.connectivity.window[0] >= start
            and time + made.connectivity.window[1] <= stop
        ]
        assert len(inside) == blocks.sizes["time"] > 50
        whole = np.mean(inside, axis=0)
        assert mean[1, 0] == pytest.approx(whole[2:4, :2].mean(), abs=1e-5)  # EC onto Pvalb
        assert mean[0, 0] == pytest.approx((whole[0, 1] + whole[1, 0]) / 2, abs=1e-5)
        assert np.isnan(mean[2, 2])  # one Sst cell has no partner
