"""Simulated recordings: the same address gives the same arrays; couplings are recovered."""

import numpy as np
import pytest

from nwbdyn import baselines, metrics, nlb
from nwbdyn.data import binning, splits
from nwbdyn.errors import AddressError, ReadError
from nwbdyn.recording import Traces
from nwbdyn.simulate import Truth, normalise, sample, task_rnn

SMALL = {
    "cortex": "sample:cortex?neurons=12&duration=60",
    "reach": "sample:reach?neurons=12&trials=20",
    "spiking": "sample:spiking?duration=60",
    "frames": "sample:frames?neurons=8&duration=60",
    "switching": "sample:switching?steps=600",
    "toy": "sample:toy?kind=tanh-moving&steps=300",
    "network": "sample:network?neurons=12&steps=300",
    "hidden": "sample:network?kind=hidden&neurons=12&steps=300",
    "poisson": "sample:network?kind=poisson&neurons=12&steps=300",
    "calcium": "sample:network?kind=ca&neurons=12&steps=300",
    "constrained": "sample:constrained?neurons=20&steps=300",
    "driven": "sample:driven?neurons=12&steps=300",
    "stdp": "sample:stdp?inputs=10&steps=1000",
    "ring": "sample:ring?neurons=20&steps=500",
    "lorenz": "sample:lorenz?neurons=8&conditions=2",
    "chaotic": "sample:chaotic?neurons=8&conditions=2",
}


@pytest.mark.parametrize("name", SMALL)
def test_the_same_address_gives_the_same_arrays(name):
    (one, truth), (other, same) = sample(SMALL[name]), sample(SMALL[name])
    assert one.neurons.table.equals(other.neurons.table)
    assert all(same_arrays(vars(truth)[key], vars(same)[key]) for key in vars(truth))
    for a, b in zip(one.covariates, other.covariates, strict=True):
        assert np.array_equal(a.data, b.data)
        assert np.array_equal(a.timestamps, b.timestamps)
    if isinstance(one.activity, Traces):
        assert np.array_equal(one.activity.data, other.activity.data)
    else:
        assert np.array_equal(one.activity.times, other.activity.times)
    assert one.trials is None or one.trials.equals(other.trials)


def same_arrays(one, other):
    return one is other if one is None else np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("name", SMALL)
def test_counts_of_spikes_come_back_from_their_times(name):
    recording, truth = sample(SMALL[name])
    step = np.diff(truth.time[:2])[0]
    if isinstance(recording.activity, Traces):
        assert recording.activity.data.shape == (len(truth.time), len(recording.neurons))
        return
    binned = binning.bin_recording(recording, bin_width=step)
    at = np.searchsorted(binned.time, truth.time - 1e-6)
    assert np.allclose(binned.time[at], truth.time)
    counts, expected = binned.values[at], truth.rates * step
    assert counts.sum() == len(recording.activity.times)
    deviation = (counts.sum(axis=0) - expected.sum(axis=0)) / np.sqrt(expected.sum(axis=0))
    assert np.abs(deviation).max() < 4  # standard errors, of 20 units at most


@pytest.mark.parametrize("name", SMALL)
def test_another_seed_gives_another_recording(name):
    _, truth = sample(SMALL[name])
    _, other = sample(f"{SMALL[name]}&seed=1")
    assert not np.array_equal(truth.rates[:100], other.rates[:100])


def test_an_address_is_written_out_in_full_and_in_one_order():
    full = "sample:cortex?seed=3&neurons=50&duration=600"
    assert normalise("sample:cortex?duration=600.0&seed=3") == full
    assert normalise(full) == full
    assert sample(SMALL["reach"])[0].source.uri == "sample:reach?seed=0&neurons=12&trials=20"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sample:cortx", "No sample named 'cortx'; did you mean cortex? Choose from: chaotic, "),
        (
            "sample:cortex?neuron=5",
            "sample:cortex has no parameter 'neuron'; did you mean neurons? It has: seed=0, "
            "neurons=50, duration=600.",
        ),
        (
            "sample:cortex?neurons=five",
            "sample:cortex cannot take neurons='five'; expected a whole number from 4 to 2000.",
        ),
        ("sample:reach?trials=3", "expected a whole number from 20 to 5000"),
        ("sample:cortex?duration=nan", "expected a number from 30 to 36000"),
        ("sample:cortex?seed=1&seed=2", "gives seed twice"),
        ("sample:toy?kind=cubic", "has no kind 'cubic'; choose from: linear-static, tanh-static"),
    ],
)
def test_a_wrong_address_says_what_there_is(address, message):
    with pytest.raises(AddressError) as error:
        sample(address)
    assert message in str(error.value)


def test_columns_of_the_planted_coupling_have_one_sign_each():
    recording, truth = sample("sample:cortex?neurons=40&duration=60")
    excitatory = (recording.neurons.table["cell_type"] == "EC").to_numpy()
    for weights in truth.couplings:
        assert (weights[:, excitatory] >= 0).all()
        assert (weights[:, ~excitatory] <= 0).all()
        assert (np.diag(weights) == 0).all()
    assert set(recording.neurons.table["cell_type"]) == {"EC", "Pvalb", "Sst", "Vip"}


def test_running_scales_the_columns_of_a_cell_type():
    recording, truth = sample("sample:cortex?neurons=40&duration=60")
    still, running = truth.couplings
    sst = (recording.neurons.table["cell_type"] == "Sst").to_numpy()
    assert np.allclose(running[:, sst], 0.5 * still[:, sst])
    speed = recording.covariate("running_speed")
    at_frames = np.interp(truth.time, speed.timestamps, speed.data[:, 0])
    assert np.array_equal(at_frames > 1.0, truth.state == 1)


def test_the_smallest_and_a_large_cortex_stay_in_range():
    for address in ("sample:cortex?neurons=4&duration=60", "sample:cortex?neurons=300&duration=60"):
        recording, truth = sample(address)
        assert np.abs(truth.latents).max() < 10
        assert np.abs(recording.activity.data).max() < 5  # dF/F


@pytest.mark.slow
def test_a_ridge_regression_finds_the_planted_cortex():
    recording, truth = sample("sample:cortex")
    binned = binning.bin_recording(recording)
    split = splits.make(binned, seed=0, hold_out=False, gap=10)
    actual = baselines.next_bin(binned, split, context=10)
    apart = ~np.eye(50, dtype=bool)
    weights = actual["VAR ridge"].coupling
    # measured .936; on the true rates instead of dF/F it is .957
    assert np.corrcoef(weights[apart], truth.coupling[apart])[0, 1] > 0.9
    assert np.corrcoef(weights.T[apart], truth.coupling[apart])[0, 1] < 0.1
    test = split.bins("test")
    scores = {
        name: metrics.r2(binned.values[test], f.prediction[test]) for name, f in actual.items()
    }
    assert scores["VAR ridge"] > scores["AR"] + 0.03 > scores["persistence"] + 0.03


def test_a_reach_has_the_columns_of_the_benchmark_s_maze():
    recording, _ = sample(SMALL["reach"])
    assert {"target_on_time", "go_cue_time", "move_onset_time", "rt", "split", "success"} <= set(
        recording.trials
    )
    assert set(recording.trials["split"]) == {"train", "val", "test"}
    assert nlb.recognise(recording).align == "move_onset_time"
    table = recording.neurons.table
    assert table["heldout"].sum() == 3
    assert ((table["id"] < 2000) == (table["location"] == "PMd")).all()


def test_spikes_and_hand_lie_inside_the_trials():
    recording, _ = sample(SMALL["reach"])
    trials = recording.trials[["start_time", "stop_time"]].to_numpy()
    assert (trials[1:, 0] > trials[:-1, 1]).all()
    for times in (recording.activity.times, recording.covariate("hand_vel").timestamps):
        row = np.searchsorted(trials[:, 0], times + 1e-9, side="right") - 1
        assert ((times >= trials[row, 0] - 1e-9) & (times < trials[row, 1])).all()
    for unit in range(12):
        assert (np.diff(recording.activity.of(unit)) > 0).all()


def test_the_hand_moves_after_the_onset_and_reaches_the_target():
    recording, _ = sample(SMALL["reach"])
    clock = recording.covariate("hand_pos").timestamps
    position, velocity = (recording.covariate(f"hand_{what}").data for what in ("pos", "vel"))
    for trial in recording.trials.itertuples():
        before = (clock >= trial.start_time) & (clock < trial.move_onset_time)
        assert np.abs(velocity[before]).max() < 1e-12
        end = position[np.searchsorted(clock, trial.stop_time) - 1]
        # the aim varies by .08 rad (sd) at .12 m
        assert np.hypot(end[0] - trial.target_x, end[1] - trial.target_y) < 0.04


@pytest.mark.slow
def test_true_rates_of_a_reach_are_far_better_than_mean_rates():
    recording, truth = sample("sample:reach")
    binned = binning.bin_recording(recording, bin_width=0.005)
    oracle = np.full(binned.values.shape, np.nan)
    oracle[np.searchsorted(binned.time, truth.time - 1e-6)] = truth.rates * 0.005
    held_out = recording.neurons.table["heldout"].to_numpy()
    test = splits.make(binned, seed=0, hold_out=True, gap=0).bins("test") & np.isfinite(
        oracle[:, 0]
    )
    score = metrics.bits_per_spike(binned.values[test][:, held_out], oracle[test][:, held_out])
    assert score > 0.5  # bits per spike


def test_truth_comes_back_from_its_file(tmp_path):
    _, truth = sample(SMALL["cortex"])
    truth.save(tmp_path / "truth.npz")
    again = Truth.load(tmp_path / "truth.npz")
    assert np.array_equal(again.coupling, truth.coupling)
    assert np.array_equal(again.state, truth.state)
    _, without = sample(SMALL["reach"])
    without.save(tmp_path / "other.npz")
    assert Truth.load(tmp_path / "other.npz").coupling is None


def least_squares(activity):
    """(N, N) [post, pre] of x(t+1) on x(t)."""
    inputs = np.column_stack([activity[:-1], np.ones(len(activity) - 1)])
    return np.linalg.lstsq(inputs, activity[1:], rcond=None)[0][:-1].T


def agreement(weights, truth):
    apart = ~np.eye(len(truth), dtype=bool)
    return np.corrcoef(weights[apart], truth[apart])[0, 1]


@pytest.mark.parametrize(
    ("address", "least"),
    [
        ("sample:toy?kind=linear-static", 0.98),
        ("sample:toy?kind=tanh-static&noise=0.01", 0.8),
        ("sample:network?kind=linear&steps=4000", 0.95),
        ("sample:network?kind=rate", 0.9),
        ("sample:constrained?neurons=100&steps=20000", 0.8),
    ],
)
def test_least_squares_finds_the_planted_network(address, least):
    recording, truth = sample(address)
    actual = least_squares(np.asarray(recording.activity.data, dtype=float))
    assert agreement(actual, truth.coupling) > least
    assert agreement(actual.T, truth.coupling) < least / 2


def test_weights_of_a_moving_toy_follow_its_state():
    _, still = sample("sample:toy?kind=linear-static")
    _, truth = sample("sample:toy?kind=linear-moving")
    assert still.couplings is None
    moved = truth.couplings - truth.couplings[0]
    driven = (truth.rates - truth.rates[0])[:, :, None] * np.array([-1, 1, -1, 2, -1])
    assert np.allclose(moved, driven, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_toy_that_runs_away_is_drawn_again(seed):
    for kind in ("linear-moving", "tanh-moving"):
        _, truth = sample(f"sample:toy?kind={kind}&seed={seed}")
        assert np.abs(truth.rates).max() < 10


def test_a_stimulus_explains_what_looks_like_coupling():
    recording, truth = sample("sample:driven?neurons=20&steps=6000")
    activity = np.asarray(recording.activity.data, dtype=float)
    stimulus = recording.covariate("stimulus").data
    without = least_squares(activity)
    with_stimulus = least_squares(np.column_stack([activity, stimulus]))[:20]
    assert agreement(with_stimulus[:, :20], truth.coupling) > agreement(without, truth.coupling)
    drive = np.corrcoef(with_stimulus[:, 20:].ravel(), truth.input_coupling.ravel())[0, 1]
    assert drive > 0.9


def test_plasticity_sorts_the_synapses_of_the_stdp_neuron():
    recording, truth = sample("sample:stdp?steps=40000")
    voltage = recording.activity.data[:, 0]
    assert voltage.max() <= -55  # it is reset where it would cross the threshold, float32
    assert 5 < truth.latents.mean() / 0.001 < 100  # Hz
    assert truth.edge_weights[0].std() < 1e-3 < truth.edge_weights[-1].std()
    assert truth.edge_weights.min() >= 0
    assert truth.edge_weights.max() <= np.float32(0.024)
    assert truth.edges.shape == (100, 2)


def test_a_bump_travels_around_the_ring_below_its_ceiling():
    _, truth = sample("sample:ring?steps=5000")
    location = np.exp(2j * np.pi * np.arange(100) / 100)
    bump = (truth.rates @ location) / truth.rates.sum(axis=1)
    assert np.abs(bump).mean() > 0.6
    assert np.unwrap(np.angle(bump)).std() > 0.1  # radians
    assert (truth.rates > 79).mean() < 0.01


def test_trials_of_one_condition_share_their_rates():
    for address, shares in (
        (SMALL["lorenz"], {"train": 14, "test": 4, "val": 2}),
        (SMALL["chaotic"], {"train": 28, "test": 8, "val": 4}),
    ):
        recording, truth = sample(address)
        trials = recording.trials
        rates = truth.rates.reshape(len(trials), -1, len(recording.neurons))
        first, second = rates[trials["condition"] == 0], rates[trials["condition"] == 1]
        assert np.array_equal(first[0], first[-1])
        assert not np.allclose(first[0], second[0])
        assert trials["split"].value_counts().to_dict() == shares


def test_a_task_rnn_is_read_with_its_stimulus_one_step_ahead(data):
    folder = data / "simulated" / "taskrnn" / "PerceptualDecisionMaking" / "rnn4"
    recording, truth = task_rnn(folder)
    hidden = np.load(folder / "hidden_activity_alltrials.npy")
    inputs = np.load(folder / "inputs_alltrials.npy")
    num_trials, length, num_neurons = hidden.shape
    assert np.array_equal(recording.activity.data, hidden.reshape(-1, num_neurons))
    stimulus = recording.covariate("stimulus").data.reshape(num_trials, length, -1)
    assert np.array_equal(stimulus[:, :-1], inputs[:, 1:])
    binned = binning.bin_recording(recording)
    assert len(np.unique(binned.segment)) == num_trials
    assert recording.trials["split"].iloc[800:].eq("test").all()
    # noise-free: through the link, the weights follow from the activity exactly
    within = np.arange(num_trials * length) % length < length - 1
    rows = np.flatnonzero(within)
    known = np.column_stack(
        [recording.activity.data, recording.covariate("stimulus").data, np.ones(len(within))]
    )
    target = np.arctanh(recording.activity.data[rows + 1].astype(float))
    actual = np.linalg.lstsq(known[rows], target, rcond=None)[0][:num_neurons].T
    assert np.allclose(actual, truth.coupling, atol=1e-2)


def test_a_folder_without_a_task_rnn_is_refused(tmp_path):
    with pytest.raises(ReadError, match="config_"):
        task_rnn(tmp_path)
