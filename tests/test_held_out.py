"""Held-out neurons: each by itself, drawn more than once, read from few windows."""

from dataclasses import replace

import numpy as np
import pytest

from nwbdyn import simulate
from nwbdyn.errors import DataError
from nwbdyn.evaluation import heldout_resamples as draws_room
from nwbdyn.evaluation import verdict
from nwbdyn.fitting import task
from nwbdyn.fitting.fit import fit
from nwbdyn.metrics import bits_per_spike
from nwbdyn.request import DataOptions
from nwbdyn.workflows import batch

OPTIONS = {
    "context": 20,
    "layers": 1,
    "feedforward": 8,
    "updates": 30,
    "validate_every": 2,
    "batch_size": 16,
}


def spiking(num_units, trials=40, **columns):
    """Units of the simulated reaches, without the file's own choice of held-out units."""
    recording, _ = simulate.sample(f"sample:reach?neurons={num_units}&trials={trials}")
    table = recording.neurons.table.drop(columns="heldout").assign(**columns)
    return replace(recording, neurons=replace(recording.neurons, table=table))


def fitted(recording, heldout_resamples=1, **choices):
    return fit(
        recording,
        "stndt",
        bin_width=0.05,
        heldout_resamples=heldout_resamples,
        **{"options": OPTIONS, **choices},
    )


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
    actual, predictions = reach.metrics["held_out"], reach.predictions
    held_out = np.flatnonzero(predictions.held_out)
    assert actual["neurons"] == predictions.neurons.ids[held_out].tolist()
    assert actual["num_neurons"] == 6
    test = predictions.labels == 2
    for value, neuron in zip(actual["model"], held_out, strict=True):
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
    actual = reach.metrics["few_shot"]
    assert actual["windows"] == 31  # half of the training windows, which are fewer than 128
    smoothing = actual["baselines"]["smoothing"]
    assert len(smoothing["values"]) == actual["num_draws"] == 10
    assert np.isfinite(actual["model"]["mean"])
    whole = reach.metrics["baselines"]["smoothing + GLM"]["test"]["co_bps"]
    assert smoothing["mean"] < whole


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two draws, in a run directory."""
    return fitted(
        spiking(24, trials=90), heldout_resamples=2, run=tmp_path_factory.mktemp("drawn") / "run"
    )


@pytest.fixture(scope="module")
def second(drawn):
    """The second of these draws, as a fit of its own, as long as the first one needed."""
    best = min((row for row in drawn.history if "validation" in row), key=lambda r: r["validation"])
    options = OPTIONS | {"stop_after": best["updates"] / OPTIONS["updates"]}
    return fitted(spiking(24, trials=90), seed=1, options=options)


def test_draws_of_held_out_neurons_are_averaged(drawn, second):
    actual = drawn.metrics["draws"]
    assert actual["num_draws"] == 2
    one, other = actual["model"]["co_bps"]["values"]
    assert one == pytest.approx(drawn.metrics["model"]["test"]["co_bps"])
    assert other == pytest.approx(second.metrics["model"]["test"]["co_bps"])
    assert actual["model"]["co_bps"]["mean"] == pytest.approx((one + other) / 2)
    both = [one_.metrics["held_out"]["neurons"] for one_ in (drawn, second)]
    assert set(actual["per_neuron"]) == {str(neuron) for some in both for neuron in some}
    assert actual["num_neurons"] == len(set(both[0]) | set(both[1]))


def test_the_mean_over_draws_is_in_its_interval_and_says_who_won(drawn):
    actual = drawn.metrics["draws"]
    low, high = actual["intervals"]["model"]
    assert low < actual["model"]["co_bps"]["mean"] < high
    low, high = actual["intervals"]["difference"]
    assert low < actual["difference"]["co_bps"]["mean"] < high
    assert actual["beats"] is drawn.metrics["beats_baseline"] is (low > 0)
    first, *rest = verdict.sentences(drawn.metrics, "stndt")
    assert "over 2 draws of held-out neurons" in first
    assert f"{low:+.3f} to {high:+.3f}" in first
    assert any("Over 2 draws" in sentence for sentence in rest)


def test_the_interval_draws_a_neuron_in_all_its_draws_and_a_block_in_all_of_them():
    """Against a loop over resamples that scores every draw from its resampled counts."""
    draw = np.random.default_rng(3)
    bins, blocks = 120, np.repeat(np.arange(12), 10)
    counts = {neuron: draw.poisson(1.0, bins).astype(float) for neuron in range(6)}
    parts, rates = [], []
    for held_out in ([0, 1, 2, 3], [2, 3, 4, 5]):
        true = np.stack([counts[neuron] for neuron in held_out], axis=1)
        rate = np.clip(true * 0.3 + draw.uniform(0.4, 1.2, true.shape), 0.05, None)
        rates.append((held_out, true, rate))
        sums = draws_room._block_sums(true, rate, blocks, 12)
        parts.append(draws_room.HeldoutResample({}, np.array(held_out), np.arange(12), sums, None))
    low, high = draws_room._intervals(parts)["model"]
    chance, means = np.random.default_rng(9), []
    for _ in range(2000):
        chosen = chance.integers(0, 12, 12)
        rows = np.concatenate([np.flatnonzero(blocks == block) for block in chosen])
        neurons = chance.integers(0, 6, 6)
        scores = []
        for held_out, true, rate in rates:
            columns = [held_out.index(neuron) for neuron in neurons if neuron in held_out]
            if columns:
                scores.append(bits_per_spike(true[rows][:, columns], rate[rows][:, columns]))
        means.append(np.mean(scores))
    whole = np.mean([bits_per_spike(true, rate) for _, true, rate in rates])
    # symmetric about the score, widened by Student's t for the 6 neurons that were drawn from
    half = np.quantile(np.abs(np.array(means) - whole), 0.95) * 2.571 / 1.960 * np.sqrt(6 / 5)
    # two Monte Carlo estimates of a quantile, from 1,000 and 2,000 resamples
    assert [low, high] == pytest.approx([whole - half, whole + half], abs=0.15 * half)


def test_a_table_of_recordings_shows_the_mean_over_draws(drawn):
    outcome = batch._fitted((drawn.source,), drawn.run)
    actual, best = drawn.metrics["draws"], drawn.metrics["primary"]["baseline"]
    assert outcome.value == pytest.approx(actual["model"]["co_bps"]["mean"])
    assert outcome.baseline_value == pytest.approx(actual["baselines"][best]["co_bps"]["mean"])


def test_a_stopped_fit_goes_on_with_the_draws_that_are_done(drawn):
    run = drawn.run
    (run / "metrics.json").unlink()
    done = (run / "draw-1/metrics.json").stat().st_mtime_ns
    again = fitted(spiking(24, trials=90), heldout_resamples=2, run=run, resume=True)
    assert again.metrics["draws"] == drawn.metrics["draws"]
    assert (run / "draw-1/metrics.json").stat().st_mtime_ns == done
    fitted(spiking(24), run=run, overwrite=True)
    assert not (run / "draw-1").exists()


def test_five_draws_are_the_default_where_the_file_does_not_say(monkeypatch):
    requested = task.num_draws
    assert requested(None, co_smoothing=True, stated=False) == 5
    assert requested(1, co_smoothing=True, stated=False) == 1
    assert requested(None, co_smoothing=True, stated=True) == 1
    assert requested(5, co_smoothing=False, stated=False) == 1
    monkeypatch.setattr(task, "DRAWS", 2)
    made = fitted(spiking(24), heldout_resamples=None)
    assert made.metrics["draws"]["num_draws"] == 2
    assert made.environment["asked"]["draws"] == 2


def test_a_single_draw_is_told_so(reach):
    assert any(
        "One draw of held-out" in message for message in verdict.sentences(reach.metrics, "stndt")
    )


def test_a_file_that_says_which_neurons_are_held_out_is_fitted_once():
    recording, _ = simulate.sample("sample:reach?neurons=24&trials=40")
    made = fitted(recording, heldout_resamples=5)
    assert "draws" not in made.metrics
    assert "one-draw" in [note.code for note in made.notes]
    plain = fitted(recording, heldout_resamples=None)
    assert "draws" not in plain.metrics
    assert "one-draw" not in [note.code for note in plain.notes]
    assert not any("draw" in message for message in verdict.sentences(plain.metrics, "stndt"))


def test_no_draw_holds_out_a_unit_whose_channel_it_also_sees():
    channel = np.repeat(np.arange(16), 2)[:32]
    recording = spiking(32, channel=channel)
    for seed in range(5):
        split = task.build_task(
            recording, "stndt", seed=seed, options=OPTIONS, data=DataOptions(bin_width=0.05)
        ).split
        seen, unseen = set(channel[split.held_in]), set(channel[~split.held_in])
        assert not seen & unseen
        assert (~split.held_in).sum() == 8
        assert "no channel shared" in split.rule


def test_five_units_are_held_out_of_ten_and_fewer_are_refused():
    made = fitted(spiking(10))
    assert made.predictions.held_out.sum() == 5
    with pytest.raises(DataError, match="8 usable units, 5 of them held out"):
        fitted(spiking(8))
    with pytest.raises(DataError, match="2 of them held out"):
        fitted(spiking(24, heldout=np.arange(24) < 2))
