"""The benchmark's tensors against a plain reading of their definition, on miniature files.

The miniature files have the units' and trials' columns of the published ones; all their times are
whole tenths of a millisecond, so that the oracle counts in integers, millisecond by millisecond.
"""

from itertools import product

import h5py
import numpy as np
import pytest
from nwb_files import nwb, opened, series, table, units
from scipy.signal import decimate

from nwbdyn import nlb
from nwbdyn.errors import DataError, ResultsError
from nwbdyn.nlb import submission

WINDOWS = {
    "maze": ("move_onset_time", -250, 450),
    "mc_rtt": ("start_time", 0, 600),
    "area2_bump": ("move_onset_time", -100, 500),
    "dmfc_rsg": ("go_time", -1500, 0),
}
LAYOUTS = tuple(WINDOWS)
IDS = [1031, 1002, 2040, 2011, 1020, 2003]  # not in order, as in the maze
HELD_OUT = [False, True, False, False, True, False]
NUM_TRIALS = 16
SPLITS = (["train"] * 2 + ["val"] + ["train"] * 2 + ["none"]) * 3
LENGTH_MS = 60_000


class Miniature:
    """One file, and everything in it as integers of .1 ms."""

    def __init__(self, layout, folder, *, name="train", seed=0):
        rng = np.random.default_rng(seed)
        self.layout, self.path = layout, folder / f"{layout}-{name}.nwb"
        self.spikes = [np.sort(rng.choice(LENGTH_MS * 10, 1500, replace=False)) for _ in IDS]
        self.observed = [(0, 53_000), (65_003, LENGTH_MS * 10)]
        self.trials = self._trials(rng)
        self.velocity = rng.normal(size=(LENGTH_MS, 2)).cumsum(axis=0)
        self.moving = np.ones(LENGTH_MS, dtype=bool)
        self.moving[30_000:30_700] = False
        with nwb(self.path) as file:
            self._write(file)

    def _trials(self, rng):
        """Columns of times in .1 ms, and others as they are."""
        if self.layout == "mc_rtt":
            starts = 20_000 + 6_000 * np.arange(NUM_TRIALS)
            lengths = np.full(NUM_TRIALS, 6_000)
        else:
            starts = 20_000 + 33_000 * np.arange(NUM_TRIALS) + rng.integers(0, 900, NUM_TRIALS)
            lengths = np.full(NUM_TRIALS, 30_000)
        columns = {"start_time": starts, "stop_time": starts + lengths}
        columns["split"] = SPLITS[:NUM_TRIALS]
        if self.layout in ("maze", "area2_bump"):
            columns["move_onset_time"] = starts + rng.integers(4_000, 9_000, NUM_TRIALS)
        if self.layout == "maze":
            columns |= {"trial_type": np.arange(NUM_TRIALS), "trial_version": np.arange(NUM_TRIALS)}
        if self.layout == "area2_bump":
            columns["ctr_hold_bump"] = np.arange(NUM_TRIALS) % 2 == 1
            columns["cond_dir"] = 45 * (np.arange(NUM_TRIALS) % 8)
        if self.layout == "dmfc_rsg":
            columns["tp"] = rng.uniform(1000, 1600, NUM_TRIALS)
            columns["set_time"] = starts + 2_000
            columns["go_time"] = starts + 2_000 + np.floor(columns["tp"] * 10).astype(int)
            columns["ts"] = np.full(NUM_TRIALS, 900)
            for name in ("is_eye", "is_short", "is_outlier"):
                columns[name] = rng.integers(0, 2, NUM_TRIALS).astype(bool)
            columns["theta"] = rng.integers(0, 2, NUM_TRIALS) * 180
        return columns

    def _write(self, file):
        def seconds(name):
            return np.array([int(value) / 10_000 for value in self.trials[name]])

        made = units(file, spikes=[spikes / 10_000 for spikes in self.spikes], heldout=HELD_OUT)
        made["id"][:] = IDS
        made["obs_intervals"] = np.tile(np.array(self.observed) / 10_000, (len(IDS), 1))
        made["obs_intervals_index"] = 2 * np.arange(1, len(IDS) + 1)
        columns = {
            name: seconds(name) if name.endswith("_time") else values
            for name, values in self.trials.items()
        }
        table(file["intervals"], "trials", "TimeIntervals", **columns)
        behavior = file.create_group("processing/behavior")
        behavior.attrs.update(neurodata_type="ProcessingModule", namespace="core")
        name = "finger_vel" if self.layout == "mc_rtt" else "hand_vel"
        series(
            behavior,
            name,
            self.velocity[self.moving],
            timestamps=np.flatnonzero(self.moving) / 1000,
            unit="m/s",
        )

    def rows(self, *names):
        return [row for row, split in enumerate(self.trials["split"]) if split in names]

    def jitter(self, rows, width):
        """Bins per trial."""
        if self.layout != "dmfc_rsg":
            return [0] * len(rows)
        draw = np.random.RandomState(0)
        most = [int(min(max(1500 - self.trials["tp"][row], 0), 300) // width) for row in rows]
        return [round(draw.random_sample() * number) for number in most]

    def begins(self, rows, *, width=5, after=False, lag=0):
        """First bin of each window: the smallest k with k * width >= align + offset."""
        column, low, high = WINDOWS[self.layout]
        offset = (high if after else low) + lag
        return [
            -(-(int(self.trials[column][row]) + 10 * (offset + width * late)) // (10 * width))
            for row, late in zip(rows, self.jitter(rows, width), strict=True)
        ]

    def counts(self, begins, length, *, held_out, width=5):
        """(trials, length, units) by visiting every millisecond of every bin."""
        seen = np.zeros(LENGTH_MS, dtype=bool)
        for start, stop in self.observed:
            seen[-(-start // 10) : stop // 10] = True
        rows = sorted(
            (unit for unit in range(len(IDS)) if HELD_OUT[unit] == held_out), key=IDS.__getitem__
        )
        counted = np.zeros((len(begins), length, len(rows)))
        for column, unit in enumerate(rows):
            fired = np.bincount(self.spikes[unit] // 10, minlength=LENGTH_MS) * seen
            for (trial, begin), step in product(enumerate(begins), range(length)):
                first = (begin + step) * width
                known = first < LENGTH_MS and seen[first]
                bin_ms = fired[first : first + width]
                counted[trial, step, column] = bin_ms.sum() if known else np.nan
        return counted.astype(np.float32)


def length_of(layout, width=5):
    return (WINDOWS[layout][2] - WINDOWS[layout][1]) // width


@pytest.mark.parametrize("width", [5, 20])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_spike_tensors_are_those_of_the_definition(layout, width, tmp_path):
    file = Miniature(layout, tmp_path)
    with opened(file.path) as recording:
        actual = nlb.tensors(recording, bin_width=width / 1000)
    length, forward = length_of(layout, width), 200 // width
    for phase, split in (("train", "train"), ("eval", "val")):
        rows = file.rows(split)
        begins = file.begins(rows, width=width)
        later = file.begins(rows, width=width, after=True)
        for group, held_out in (("heldin", False), ("heldout", True)):
            expected = file.counts(begins, length, held_out=held_out, width=width)
            assert np.array_equal(actual[f"{phase}_spikes_{group}"], expected, equal_nan=True)
            if phase == "train":
                expected = file.counts(later, forward, held_out=held_out, width=width)
                after = actual[f"{phase}_spikes_{group}_forward"]
                assert np.array_equal(after, expected, equal_nan=True)
    assert np.isnan(actual["train_spikes_heldin"]).any()  # the file has a gap


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_test_phase_trains_on_train_and_val_and_asks_about_the_test_file(layout, tmp_path):
    train = Miniature(layout, tmp_path)
    test = Miniature(layout, tmp_path, name="test", seed=1)
    test.trials["split"] = ["test"] * NUM_TRIALS
    with h5py.File(test.path, "a") as file:  # a test file holds held-in units only
        keep = [unit for unit in range(len(IDS)) if not HELD_OUT[unit]]
        del file["units"]
        made = units(
            file, spikes=[test.spikes[unit] / 10_000 for unit in keep], heldout=[False] * len(keep)
        )
        made["id"][:] = [IDS[unit] for unit in keep]
        made["obs_intervals"] = np.tile(np.array(test.observed) / 10_000, (len(keep), 1))
        made["obs_intervals_index"] = 2 * np.arange(1, len(keep) + 1)
        file["intervals/trials/split"][:] = "test"
    with opened(train.path) as first, opened(test.path) as second:
        actual = nlb.tensors(first, second)
    rows = train.rows("train", "val")
    length = length_of(layout)
    expected = train.counts(train.begins(rows), length, held_out=False)
    assert np.array_equal(actual["train_spikes_heldin"], expected, equal_nan=True)
    test.jitter = lambda rows, width: [0] * len(rows)  # test windows are as they are
    expected = test.counts(test.begins(range(NUM_TRIALS)), length, held_out=False)
    assert np.array_equal(actual["eval_spikes_heldin"], expected, equal_nan=True)
    assert "eval_spikes_heldout" not in actual


@pytest.mark.parametrize(("layout", "lag"), [("maze", 100), ("mc_rtt", 140), ("area2_bump", -20)])
def test_behaviour_is_filtered_velocity_at_the_lag(layout, lag, tmp_path):
    file = Miniature(layout, tmp_path)
    with opened(file.path) as recording:
        actual = nlb.targets(recording)
    bridged = file.velocity.copy()
    for channel in bridged.T:
        before, after = channel[29_999], channel[30_700]
        channel[30_000:30_700] = before + (after - before) * np.arange(1, 701) / 701
    slow = decimate(bridged, 5, n=500, ftype="fir", axis=0)
    slow[6_000:6_140] = np.nan
    for name, split in (("train", "train"), ("eval", "val")):
        begins = file.begins(file.rows(split), lag=lag)
        expected = np.stack([slow[begin : begin + length_of(layout)] for begin in begins])
        # the bridge is a sum in another order: 1e-12 of values around 100
        assert np.allclose(actual[f"{name}_behavior"], expected, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_targets_are_the_held_out_and_later_spikes_of_val_trials(layout, tmp_path):
    file = Miniature(layout, tmp_path)
    with opened(file.path) as recording:
        actual = nlb.targets(recording)
    rows = file.rows("val")
    expected = file.counts(file.begins(rows), length_of(layout), held_out=True)
    if layout == "dmfc_rsg":
        for trial, row in enumerate(rows):
            first = file.begins(rows)[trial]
            for step in range(length_of(layout)):
                ms = (first + step) * 50  # .1 ms
                if not file.trials["set_time"][row] <= ms < file.trials["go_time"][row]:
                    expected[trial, step] = np.nan
    assert np.array_equal(actual["eval_spikes_heldout"], expected, equal_nan=True)
    later = file.begins(rows, after=True)
    for group, held_out in (("heldin", False), ("heldout", True)):
        expected = file.counts(later, 40, held_out=held_out)
        after = actual[f"eval_spikes_{group}_forward"]
        assert np.array_equal(after, expected, equal_nan=True)


def test_dmfc_behaviour_is_its_trial_columns_without_outliers(tmp_path):
    file = Miniature("dmfc_rsg", tmp_path)
    with opened(file.path) as recording:
        actual = nlb.targets(recording)["eval_behavior"]
    for trial, row in enumerate(file.rows("val")):
        columns = [
            float(file.trials[name][row]) for name in ("is_eye", "theta", "is_short", "ts", "tp")
        ]
        if file.trials["is_outlier"][row]:
            columns = [np.nan] * 5
        assert np.array_equal(actual[trial], columns, equal_nan=True)


def test_area2_is_decoded_apart_for_active_and_passive_trials(tmp_path):
    file = Miniature("area2_bump", tmp_path)
    with opened(file.path) as recording:
        actual = nlb.targets(recording)
    passive = file.trials["ctr_hold_bump"][file.rows("train")]
    assert actual["train_decode_mask"].tolist() == [[not p, p] for p in passive.tolist()]


def test_a_test_file_of_another_session_is_refused(tmp_path):
    train, test = Miniature("maze", tmp_path), Miniature("maze", tmp_path, name="test")
    with h5py.File(test.path, "a") as file:
        file["units/id"][:] = np.array(IDS) + 1
        file["intervals/trials/split"][:] = "test"
    with (
        opened(train.path) as first,
        opened(test.path) as second,
        pytest.raises(DataError, match="other held-in units"),
    ):
        nlb.tensors(first, second)


def test_predictions_are_arranged_and_written_as_the_benchmark_takes_them(tmp_path):
    ids, held_in = np.array([30, 10, 20, 40]), np.array([True, True, False, False])
    predictions = np.random.default_rng(0).random((3, 6, 4))
    rates = submission.arrange("eval", predictions, observed=4, held_in=held_in, ids=ids)
    assert np.array_equal(rates["eval_rates_heldin"], predictions[:, :4, [1, 0]])
    assert np.array_equal(rates["eval_rates_heldout_forward"], predictions[:, 4:, [2, 3]])
    name = submission.group_name(nlb.LAYOUTS["000128"], 0.020)
    assert name == "mc_maze_20"
    path = submission.write(tmp_path / "rates.h5", {name: rates})
    again = submission.read(path)[name]
    assert set(again) == set(rates)
    assert all(np.array_equal(again[key], rates[key].astype(np.float32)) for key in rates)
    with pytest.raises(ResultsError, match="--overwrite"):
        submission.write(path, {name: rates})
    assert [child.name for child in tmp_path.iterdir()] == ["rates.h5"]


def test_the_shared_reference_reads_as_tensors(data):
    actual = submission.read(data / "simulated/lorenz48/lorenz48.h5")
    assert actual[""]["train_spikes_heldin"].shape == (512, 50, 36)
