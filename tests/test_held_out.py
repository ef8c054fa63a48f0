"""Held-out neurons: each by itself, drawn more than once, read from few windows."""

from dataclasses import replace

import numpy as np
import pytest

from nwbdyn import simulate
from nwbdyn.errors import DataError
from nwbdyn.fitting import fit

OPTIONS = {
    "context": 20,
    "layers": 1,
    "feedforward": 8,
    "updates": 30,
    "validate_every": 2,
    "batch_size": 16,
}


def spiking(num_units, **columns):
    """Units of the simulated reaches, without the file's own choice of held-out units."""
    recording, _ = simulate.sample(f"sample:reach?neurons={num_units}&trials=40")
    table = recording.neurons.table.drop(columns="heldout").assign(**columns)
    return replace(recording, neurons=replace(recording.neurons, table=table))


def fitted(recording, **options):
    return fit(recording, "stndt", bin_width=0.05, options=OPTIONS, **options)


def gain(true, rate):
    """Bits per spike above the neuron's mean, one neuron, written out."""
    mean = true.mean()
    model = sum(y * np.log2(r) - r / np.log(2) for y, r in zip(true, rate, strict=True))
    null = sum(y * np.log2(mean) - mean / np.log(2) for y in true)
    return (model - null) / true.sum()


@pytest.fixture(scope="module")
def reach():
    return fitted(spiking(24))


def test_every_held_out_neuron_has_its_own_score(reach):
    found, predictions = reach.metrics["held_out"], reach.predictions
    held_out = np.flatnonzero(predictions.held_out)
    assert found["neurons"] == predictions.neurons.ids[held_out].tolist()
    assert found["num_neurons"] == 6
    test = predictions.labels == 2
    for value, neuron in zip(found["model"], held_out, strict=True):
        true, rate = predictions.recorded[test, neuron], predictions.values[test, neuron]
        known = np.isfinite(true) & np.isfinite(rate)
        assert value == pytest.approx(gain(true[known], rate[known]), abs=1e-5)


def test_the_interval_over_neurons_and_trials_holds_the_score(reach):
    low, high = reach.metrics["held_out"]["intervals"]["model"]
    assert low < reach.metrics["model"]["test"]["co_bps"] < high
    best = reach.metrics["primary"]["baseline"]
    difference = (
        reach.metrics["model"]["test"]["co_bps"]
        - reach.metrics["baselines"][best]["test"]["co_bps"]
    )
    low, high = reach.metrics["held_out"]["intervals"]["difference"]
    assert low < difference < high


def test_few_windows_teach_a_read_out_less_than_all_of_them(reach):
    found = reach.metrics["few_shot"]
    assert found["windows"] == 20
    smoothing = found["baselines"]["smoothing"]
    assert len(smoothing["values"]) == found["num_draws"] == 5
    assert np.isfinite(found["model"]["mean"])
    whole = reach.metrics["baselines"]["smoothing + GLM"]["test"]["co_bps"]
    assert smoothing["mean"] < whole


def test_draws_of_held_out_neurons_are_averaged(tmp_path):
    made = fitted(spiking(24), draws=2, run=tmp_path / "run")
    found = made.metrics["draws"]
    assert found["num_draws"] == 2
    first, second = found["model"]["co_bps"]["values"]
    assert first == pytest.approx(made.metrics["model"]["test"]["co_bps"])
    alone = fitted(spiking(24), seed=1)
    assert second == pytest.approx(alone.metrics["model"]["test"]["co_bps"])
    assert found["model"]["co_bps"]["mean"] == pytest.approx((first + second) / 2)
    both = {str(neuron) for fit_ in (made, alone) for neuron in fit_.metrics["held_out"]["neurons"]}
    assert set(found["per_neuron"]) == both
    assert (tmp_path / "run/draw-1/metrics.json").exists()
    again = fitted(spiking(24), draws=2, run=tmp_path / "run", resume=True)
    assert again.metrics["draws"]["model"] == found["model"]


def test_a_file_that_says_which_neurons_are_held_out_is_fitted_once():
    recording, _ = simulate.sample("sample:reach?neurons=24&trials=40")
    made = fitted(recording, draws=5)
    assert "draws" not in made.metrics
    assert "one-draw" in [note.code for note in made.notes]


def test_five_units_are_held_out_of_ten_and_fewer_are_refused():
    made = fitted(spiking(10))
    assert made.predictions.held_out.sum() == 5
    with pytest.raises(DataError, match="8 usable units, 5 of them held out"):
        fitted(spiking(8))
    with pytest.raises(DataError, match="2 of them held out"):
        fitted(spiking(24, heldout=np.arange(24) < 2))
