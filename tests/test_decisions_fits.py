"""From models to a fit, and to a known wiring: each branch of each decision."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small import trial_table
from small_fits import LINEAR, SMALL_STNDT, imaging, units
from test_importance import Reads

import nwbdyn
from nwbdyn.errors import DataError
from nwbdyn.evaluation import blocks, connectome_comparison, map_ablation, scoring
from nwbdyn.fitting import assemble, train_models
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stages import attention_maps
from nwbdyn.fitting.task import build_task
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.inference import readout
from nwbdyn.request import DataOptions

QUICK = {"updates": 20, "hidden": 4, "embedding": 2, "context": 3}


# --- a known wiring ---


@pytest.mark.parametrize(
    ("score", "p"), [(4.0, 1 / 4), (2.0, 3 / 4), (3.0, 2 / 4), (0.0, 1.0), (np.nan, np.nan)]
)
def test_p_of_a_wiring_counts_shuffles_that_score_as_much(score, p):
    actual = connectome_comparison._null(
        pd.Series({"r": score}), pd.DataFrame({"r": [1.0, 2.0, 3.0]})
    )
    assert actual.loc["r", "p"] == pytest.approx(p, nan_ok=True)
    assert actual.loc["r", "mean"] == 2


@pytest.fixture(scope="module")
def fitted():
    return fit(imaging(5, 300), "netformer", epochs=1, options=LINEAR)


@pytest.mark.parametrize(
    ("wiring", "refused"),
    [
        ([(100, 101, 1.0)], True),
        ([(100, 101, 1.0), (101, 102, 1.0)], False),
        ([(100, 101, 1.0), (101, 7, 1.0), (7, 8, 1.0)], True),
    ],
)
def test_a_wiring_names_three_neurons(fitted, wiring, refused):
    edges = pd.DataFrame(wiring, columns=["pre", "post", "weight"])
    if refused:
        with pytest.raises(DataError, match="The wiring names 2 of 5 neurons"):
            nwbdyn.validate(fitted, edges, shuffles=2)
    else:
        assert nwbdyn.validate(fitted, edges, shuffles=2).num_neurons == 3


@pytest.mark.parametrize(
    ("weights", "directed", "signed"),
    [((1.0, -1.0), True, True), ((1.0, 2.0), True, False), ((1.0, -1.0), False, True)],
)
def test_which_scores_a_wiring_has(fitted, weights, directed, signed):
    edges = pd.DataFrame({"pre": [100, 101, 103], "post": [101, 102, 100], "weight": [*weights, 1]})
    actual = nwbdyn.validate(fitted, edges, directed=directed, shuffles=2)
    ours = actual.table.loc["netformer"]
    assert actual.signed is signed
    assert np.isfinite(ours["sign_accuracy"]) == signed
    assert np.isfinite(ours["direction"]) == directed


# --- from models to a fit ---


def test_two_seeds_are_scored_by_their_mean_and_the_best_is_kept():
    recording = imaging()
    made = fit(recording, "synapsnet", seeds=2, options=QUICK)
    each = [fit(recording, "synapsnet", seed=seed, options=QUICK) for seed in (0, 1)]
    least = [min(row["validation"] for row in one.history) for one in each]
    assert abs(least[0] - least[1]) > 1e-6
    best = each[int(np.argmin(least))]
    kept = min(row["validation"] for row in made.history)
    assert kept == pytest.approx(min(least), rel=1e-4)
    np.testing.assert_allclose(
        made.connectivity.mean(), best.connectivity.mean(), rtol=1e-3, atol=1e-5
    )
    mean = np.mean([one.predictions.values for one in each], axis=0)
    np.testing.assert_allclose(made.predictions.values, mean, rtol=1e-3, atol=1e-4)
    fit_task = assemble.task_of(build_task(recording, "synapsnet", seed=0, options=QUICK))
    wanted = scoring.scores(fit_task, made.predictions.values)["test"]["r2"]
    assert made.metrics["model"]["test"]["r2"] == pytest.approx(wanted, abs=1e-6)
    assert made.metrics["coupling"]["with"] == pytest.approx(
        made.metrics["seeds"]["0"]["test"]["r2"], abs=1e-6
    )
    assert made.metrics["coupling"]["adds"] != 0


@pytest.mark.parametrize(("named", "num_blocks"), [(True, 30), (False, 6)])
def test_blocks_of_a_task_are_trials_where_windows_are(named, num_blocks):
    recording = replace(units(), trials=trial_table(np.arange(30.0), 0.8))
    data = DataOptions(trials="trials" if named else None)
    fit_task = build_task(recording, "stndt", seed=0, options=SMALL_STNDT, data=data)
    assert (fit_task.aligned is not None) is named
    actual = len(np.unique(assemble.task_of(fit_task).blocks))
    assert actual == pytest.approx(num_blocks, abs=1)


def test_maps_are_needed_by_what_the_score_loses_without_them():
    fit_task = build_task(units(), "stndt", seed=0, options=SMALL_STNDT | {"updates": 10})
    (trained,) = train_models.train_seeds(fit_task, [0], RunContext())
    made = assemble.task_of(fit_task)
    actual = attention_maps._loss_without_maps(fit_task, trained, made)
    for maps, lost in actual.loss.items():
        scores = [
            scoring.scores(
                made, readout.predict(trained.model, fit_task.windows, splits=["test"], maps=one)
            )["test"]["co_bps"]
            for one in (None, maps)
        ]
        assert lost == pytest.approx(scores[0] - scores[1], abs=1e-6)


def test_blocks_are_trials_or_longer_than_what_bins_share():
    fit_task = build_task(imaging(3, 600), "synapsnet", seed=0, options=QUICK)
    binned, split = fit_task.binned, fit_task.split
    memory = blocks.memory(binned.values[split.bins("train")])
    made = blocks.make(binned, split, trials=True, context=3)  # there are none
    assert np.bincount(made)[0] == 2 * memory
    table = replace(binned, trials=trial_table(np.arange(0, 60, 2.0), 1.5))
    trials = blocks.make(table, split, trials=True, context=3)
    assert len(np.unique(trials)) == 30
    assert (blocks.make(table, split, trials=False, context=3) == made).all()
    counts = build_task(units(), "stndt", seed=0, options=SMALL_STNDT)
    width = counts.binned.bin_width
    for context, length in ((10, round(5 / width)), (10_000, 10_000)):
        made = blocks.make(counts.binned, counts.split, trials=False, context=context)
        assert np.bincount(made)[0] == min(length, counts.binned.num_bins)


class Alternating(Reads):
    """Attention falls on one neuron in even windows and on another in odd ones."""

    def __init__(self, even, odd):
        super().__init__(even, even)
        self.attended_in, self.num_windows = (int(even), int(odd)), 0

    def time_resolved(self, batch):
        shares = torch.full((len(batch.activity), batch.activity.shape[2]), 0.05)
        for share in shares:
            share[self.attended_in[self.num_windows % 2]] = 0.45
            self.num_windows += 1
        return {"importance": shares}


def test_attention_is_compared_between_odd_and_even_windows():
    fit_task = build_task(units(), "stndt", seed=1, options=SMALL_STNDT)
    first, second, *_ = np.flatnonzero(fit_task.split.held_in)
    made = assemble.task_of(fit_task)
    apart = map_ablation.scores(Alternating(first, second), fit_task.windows, made)
    assert apart.half_split < 0
    alike = map_ablation.scores(Alternating(first, first), fit_task.windows, made)
    assert alike.half_split == pytest.approx(1.0)
    assert int(np.argmax(alike.attention)) == 0
    assert alike.loss["most attended"][0] == alike.loss["most attended"][-1]
    assert alike.loss["least attended"][0] == 0
