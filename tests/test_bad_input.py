"""Recordings in which something went wrong: fitted without harm, or refused with advice."""

from dataclasses import replace

import numpy as np
import pytest
from small_fits import LINEAR, SMALL_STNDT, imaging, units
from test_joint import SMALL, TINY, days

from nwbdyn.connectivity import edge_table
from nwbdyn.errors import DataError, FitError
from nwbdyn.fitting.fit import fit
from nwbdyn.recording import Covariate, Recording
from nwbdyn.training.checkpoint import read_checkpoint
from nwbdyn.workflows.joint import fit_joint


def with_traces(recording: Recording, data: np.ndarray) -> Recording:
    return replace(recording, activity=replace(recording.activity, data=data.astype(np.float32)))


def without_spikes(recording: Recording, unit: int) -> Recording:
    """The same units, one of them silent."""
    each = [recording.activity.of(k) if k != unit else np.empty(0) for k in range(12)]
    index = np.cumsum([len(times) for times in each])
    activity = replace(recording.activity, times=np.concatenate(each), index=index)
    return replace(recording, activity=activity)


@pytest.mark.parametrize(("model", "options"), [("netformer", LINEAR), ("synapsnet", TINY)])
def test_a_constant_trace_is_left_out_of_the_scores_and_harms_nobody(model, options):
    data = imaging(8).activity.data.copy()
    data[:, 3] = 7.0
    made = fit(with_traces(imaging(8), data), model, epochs=2, options=options)
    scored = np.isfinite(made.predictions.values).all(axis=1)
    assert scored.any()
    assert np.isfinite(made.metrics["model"]["test"]["r2"])
    assert np.isfinite(made.edges["weight"]).all()
    if 103 in made.neurons.ids:  # else it was dropped before, with a note
        column = list(made.neurons.ids).index(103)
        np.testing.assert_allclose(made.predictions.values[scored, column], 7.0, atol=1.0)


@pytest.mark.parametrize(
    ("model", "options"),
    [("netformer", {}), ("synapsnet", TINY), ("stndt", SMALL_STNDT)],
)
def test_a_silent_unit_harms_nobody(model, options):
    made = fit(without_spikes(units(), 4), model, epochs=1, options=options, heldout_resamples=1)
    metric = made.metrics["primary"]["metric"]
    assert np.isfinite(made.metrics["model"]["test"][metric])
    for baseline in made.metrics["baselines"].values():
        assert np.isfinite(baseline["test"][metric])


@pytest.mark.parametrize(
    ("model", "recording", "options", "message"),
    [
        ("netformer", imaging(8, 60), {"history": 50}, "none to train on with a context of 50"),
        ("synapsnet", imaging(8, 60), {"context": 50}, "none to train on with a context of 50"),
        ("stndt", units(seconds=4), {"context": 150}, "none to train on with a context of 150"),
    ],
)
def test_a_recording_shorter_than_the_context_says_what_to_do(model, recording, options, message):
    with pytest.raises(DataError, match=message) as refused:
        fit(recording, model, epochs=1, options=options)
    assert "shorter" in str(refused.value)


@pytest.mark.parametrize("model", ["netformer", "synapsnet"])
def test_one_neuron_is_refused(model):
    alone = imaging(8)
    alone = replace(
        with_traces(alone, alone.activity.data[:, :1]), neurons=alone.neurons.take(np.arange(1))
    )
    with pytest.raises(DataError, match="1 usable neuron of 1; a coupling needs two"):
        fit(alone, model)


@pytest.mark.parametrize(("model", "options"), [("netformer", {"history": 3}), ("synapsnet", TINY)])
def test_more_neurons_than_bins_are_fitted(model, options):
    rng = np.random.default_rng(0)
    few = imaging(130, 90)
    made = fit(with_traces(few, rng.normal(size=(90, 130))), model, epochs=1, options=options)
    assert np.isfinite(made.metrics["model"]["test"]["r2"])
    assert len(edge_table.directed(made.edges)) == 130 * 129


@pytest.mark.parametrize(
    ("model", "options"),
    [("netformer", {}), ("synapsnet", TINY), ("stndt", SMALL_STNDT)],
)
def test_counts_above_all_that_training_saw_give_finite_rates(model, options):
    calm = units()
    burst = np.linspace(28.0, 28.2, 400)  # 40 spikes in a bin; training has a few
    each = [calm.activity.of(k) for k in range(12)]
    each[0] = np.sort(np.concatenate([each[0], burst]))
    activity = replace(
        calm.activity, times=np.concatenate(each), index=np.cumsum([len(t) for t in each])
    )
    made = fit(
        replace(calm, activity=activity), model, epochs=1, options=options, heldout_resamples=1
    )
    values = made.predictions.values
    metric = made.metrics["primary"]["metric"]
    assert np.isfinite(made.metrics["model"]["test"][metric])
    assert not np.isinf(values).any()


def test_labels_of_half_the_neurons_constrain_and_describe_these_alone():
    recording = imaging(8)
    recording.neurons.table["cell_type"] = ["EC", "", "Sst", None, "EC", "", "Sst", ""]
    made = fit(recording, "netformer", epochs=2, options=LINEAR | {"type_weight": 0.1})
    assert made.weights["type_mean"].shape == (2, 2)
    blocks = made.connectivity.by_cell_type()
    assert blocks["post_type"].values.tolist() == ["EC", "Sst"]
    mean = made.connectivity.mean().to_numpy()
    expected = (mean[0, 4] + mean[4, 0]) / 2
    assert float(blocks.mean("time")[0, 0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("model", "options"), [("netformer", LINEAR), ("synapsnet", TINY)])
def test_a_covariate_without_a_single_value_is_refused_when_it_is_named(model, options):
    recording = imaging(8)
    empty = Covariate("speed", np.full((600, 1), np.nan), recording.activity.timestamps)
    recording = replace(recording, covariates=(empty,))
    with pytest.raises(DataError, match=r"'speed' has no number.*leave out --covariate speed"):
        fit(recording, model, epochs=1, options=options, covariates=["speed"])
    assert fit(recording, model, epochs=1, options=options).binning["covariates"] == []


def test_sessions_with_no_neuron_in_common_are_told_so():
    fits = fit_joint(days(), "synapsnet", options=SMALL)
    assert all("no-neuron-in-common" in [n.code for n in f.notes] for f in fits.values())


def test_an_exploding_loss_stops_with_step_value_and_advice_and_keeps_the_last_checkpoint(tmp_path):
    options = SMALL | {"learning_rate": 1e18, "clip_norm": None}
    with pytest.raises(FitError, match=r"is (nan|inf) at update \d+ .*smaller step") as reported:
        fit(imaging(8), "synapsnet", options=options, run=tmp_path / "run")
    assert str(tmp_path / "run") in str(reported.value)
    state = read_checkpoint(tmp_path / "run")
    assert all(value.isfinite().all() for value in state["best_weights"].values())
