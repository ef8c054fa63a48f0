"""Simulated recordings: the same address, the same arrays; what is planted can be found."""

import numpy as np
import pytest

from nwbdyn import baselines, binning, metrics, nlb, splits
from nwbdyn.errors import AddressError
from nwbdyn.simulate import Truth, normalise, sample

SMALL = {
    "cortex": "sample:cortex?neurons=12&duration=60",
    "reach": "sample:reach?neurons=12&trials=20",
}


@pytest.mark.parametrize("name", SMALL)
def test_the_same_address_gives_the_same_arrays(name):
    (one, truth), (other, same) = sample(SMALL[name]), sample(SMALL[name])
    assert one.neurons.table.equals(other.neurons.table)
    assert np.array_equal(truth.rates, same.rates)
    for a, b in zip(one.covariates, other.covariates, strict=True):
        assert np.array_equal(a.data, b.data)
        assert np.array_equal(a.timestamps, b.timestamps)
    if name == "cortex":
        assert np.array_equal(one.activity.data, other.activity.data)
        assert np.array_equal(truth.couplings, same.couplings)
    else:
        assert np.array_equal(one.activity.times, other.activity.times)
        assert one.trials.equals(other.trials)


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
        ("sample:cortx", "No sample named 'cortx'; there are: sample:cortex, sample:reach."),
        (
            "sample:cortex?neuron=5",
            "sample:cortex has no parameter 'neuron'; it has: seed=0, neurons=50, duration=600.",
        ),
        (
            "sample:cortex?neurons=five",
            "sample:cortex cannot take neurons='five'; expected a whole number from 4 to 2000.",
        ),
        ("sample:reach?trials=3", "expected a whole number from 20 to 5000"),
        ("sample:cortex?duration=nan", "expected a number from 30 to 36000"),
        ("sample:cortex?seed=1&seed=2", "gives seed twice"),
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
    binned = binning.bin(recording)
    split = splits.make(binned, seed=0, hold_out=False, gap=10)
    found = baselines.next_bin(binned, split, context=10)
    apart = ~np.eye(50, dtype=bool)
    weights = found["VAR ridge"].coupling
    # measured .936; on the true rates instead of dF/F it is .957
    assert np.corrcoef(weights[apart], truth.coupling[apart])[0, 1] > 0.9
    assert np.corrcoef(weights.T[apart], truth.coupling[apart])[0, 1] < 0.1
    test = split.bins("test")
    scores = {
        name: metrics.r2(binned.values[test], f.prediction[test]) for name, f in found.items()
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


def test_spike_counts_are_poisson_around_the_planted_rates():
    recording, truth = sample("sample:reach?neurons=10&trials=60")
    binned = binning.bin(recording, bin_width=0.005)
    at = np.searchsorted(binned.time, truth.time - 1e-6)
    assert np.allclose(binned.time[at], truth.time)
    counts, expected = binned.values[at], truth.rates * 0.005
    deviation = (counts.sum(axis=0) - expected.sum(axis=0)) / np.sqrt(expected.sum(axis=0))
    assert np.abs(deviation).max() < 4  # standard errors, of 10 units
    assert np.isclose(((counts - expected) ** 2 / expected).mean(), 1, atol=0.1)


@pytest.mark.slow
def test_true_rates_of_a_reach_are_far_better_than_mean_rates():
    recording, truth = sample("sample:reach")
    binned = binning.bin(recording, bin_width=0.005)
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
