"""Several fits become one prediction: validation chooses which, and test bins choose nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_fits import SMALL_STNDT, units

from nwbdyn.data import splits
from nwbdyn.data.binning import Binned
from nwbdyn.evaluation import averaging, scoring
from nwbdyn.evaluation.scoring import Task
from nwbdyn.fitting.fit import fit
from nwbdyn.recording import Neurons


def task(num_bins: int = 600, num_neurons: int = 8) -> tuple[Task, np.ndarray]:
    """Held-out neurons 5 to 7, and the true rates."""
    rng = np.random.default_rng(0)
    rates = np.exp(np.sin(np.arange(num_bins)[:, None] / 9 + np.arange(num_neurons)))
    labels = np.repeat([0, 1, 2], [300, 150, 150]).astype(np.int8)
    binned = Binned(
        session_id="made",
        values=rng.poisson(rates).astype(np.float32),
        time=np.arange(num_bins) * 0.02,
        bin_width=0.02,
        valid=np.ones(num_bins, bool),
        segment=np.zeros(num_bins, int),
        neurons=Neurons(pd.DataFrame({"id": range(num_neurons)}), "unit"),
        quantity="counts",
        covariates=np.zeros((num_bins, 0), np.float32),
    )
    held_out = np.arange(num_neurons) >= 5
    made = Task(
        binned=binned,
        split=splits.Split(labels, ~held_out, 0, "by hand"),
        held_out=held_out,
        counted=np.ones(num_bins, bool),
        co_smoothing=True,
        blocks=np.arange(num_bins) // 10,
    )
    return made, rates


def noisy(rates: np.ndarray, size: float, seed: int) -> np.ndarray:
    return rates * np.exp(size * np.random.default_rng(seed).normal(size=rates.shape))


def test_the_best_are_ranked_and_counted_by_validation():
    made, rates = task()
    fits = [noisy(rates, size, seed) for seed, size in enumerate([3.0, 0.4, 0.4, 2.5])]
    actual = averaging.best(made, fits, seeds=[10, 11, 12, 13])
    scores = [scoring.scores(made, values)["val"]["co_bps"] for values in fits]
    ranking = sorted([10, 11, 12, 13], key=lambda seed: -scores[seed - 10])
    assert actual.selection.ranking == ranking
    assert actual.selection.seeds == ranking[: len(actual.members)]
    means = [np.mean([fits[s - 10] for s in ranking[:n]], axis=0) for n in (1, 2, 3, 4)]
    values = [scoring.scores(made, mean)["val"]["co_bps"] for mean in means]
    assert actual.selection.validation == pytest.approx(values)
    assert len(actual.members) == 1 + int(np.argmax(values)) == 2
    np.testing.assert_array_equal(actual.prediction, means[1])
    assert actual.selection.adds > 0  # two independent errors are smaller than one


def test_what_happens_on_test_changes_no_choice():
    made, rates = task()
    fits = [noisy(rates, 0.5, seed) for seed in range(4)]
    test = made.split.bins("test")
    turned = [np.where(test[:, None], values[:, ::-1], values) for values in fits]
    one, other = (averaging.best(made, each, seeds=range(4)) for each in (fits, turned))
    assert one.members == other.members
    assert one.selection.validation == other.selection.validation
    assert one.selection.ensemble != other.selection.ensemble


def test_next_bin_models_average_all_fits():
    made, rates = task()
    fits = [noisy(rates, size, seed) for seed, size in enumerate([3.0, 0.4])]
    actual = averaging.average(replace(made, co_smoothing=False), fits, seeds=[0, 1])
    assert actual.selection is None
    np.testing.assert_allclose(actual.prediction, (fits[0] + fits[1]) / 2)


def test_a_fit_with_several_seeds_tells_what_its_ensemble_adds():
    made = fit(units(), "stndt", seeds=3, epochs=2, options=SMALL_STNDT, heldout_resamples=1)
    reported = made.metrics["ensemble"]
    assert reported["ensemble"] == pytest.approx(made.metrics["model"]["test"]["co_bps"], abs=1e-6)
    best = max(made.metrics["seeds"], key=lambda seed: made.metrics["seeds"][seed]["val"]["co_bps"])
    assert reported["ranking"][0] == int(best)
    assert reported["single"] == pytest.approx(
        made.metrics["seeds"][best]["test"]["co_bps"], abs=1e-6
    )
    alone = fit(units(), "stndt", epochs=1, options=SMALL_STNDT, heldout_resamples=1)
    assert "ensemble" not in alone.metrics
