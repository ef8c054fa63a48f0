"""Couplings of spike times in a fit: `--null jitter:K` with a model of any bin width."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import small_fits
from small import TESTED

import nwbdyn
from nwbdyn.connectivity import edge_table
from nwbdyn.data.binning import Binned
from nwbdyn.errors import ConfigError
from nwbdyn.evaluation import verdict
from nwbdyn.fitting.stage import FitState
from nwbdyn.fitting.stages import edge_tests, spike_coupling
from nwbdyn.fitting.task import build_task
from nwbdyn.nwb.results import couplings
from nwbdyn.recording import Neurons, SpikeTimes
from nwbdyn.report import figures
from nwbdyn.results import fit_results
from nwbdyn.statistics.surrogates import Null

QUICK = {"updates": 5, "hidden": 4, "context": 4}


def spiking(seconds: float = 300.0):
    """Four units at 8 Hz; unit 11 follows unit 10 after 3 ms with a chance of .2."""
    draw = np.random.default_rng(0)
    units = [np.sort(draw.uniform(0, seconds, draw.poisson(8 * seconds))) for _ in range(4)]
    follows = units[0][draw.random(len(units[0])) < 0.2] + 0.003
    units[1] = np.sort(np.concatenate([units[1], follows[follows < seconds]]))
    return replace(
        small_fits.units(4, 5.0),
        neurons=Neurons(pd.DataFrame({"id": [10, 11, 12, 13]}), "unit"),
        activity=SpikeTimes(
            np.concatenate(units),
            np.cumsum([len(unit) for unit in units]),
            intervals=np.array([[0.0, seconds]]),
        ),
    )


@pytest.fixture(scope="module")
def fitted():
    return nwbdyn.fit(spiking(), "synapsnet", null="jitter:10", epochs=1, options={"hidden": 8})


def test_the_coupling_of_spikes_is_called_whatever_the_bins(fitted):
    assert fitted.predictions.bin_width > 0.01
    edges = edge_table.directed(fitted.edges)
    called = edges[edges["q"] <= 0.05]
    assert list(zip(called["pre_id"], called["post_id"], strict=True)) == [(10, 11)]
    assert called["weight"].iloc[0] == pytest.approx(0.2, abs=0.05)
    assert fitted.metrics["edges"]["num_significant"] == 1
    assert edges["pre_id"].iloc[0] == 10  # the strongest stands first
    assert fitted.metrics["edges"]["num_surrogates"] == 10
    assert fitted.metrics["edges"]["null"] == "jitter"
    assert edges["peak_ms"].iloc[0] == 5.0  # filters up to 5 ms
    assert fitted.environment["asked"]["null"] == "jitter:10"
    assert fitted.connectivity.edges(q=0.05)["post_id"].tolist() == [11]


def test_the_connectivity_answers_with_the_edges_of_spikes(fitted):
    task = build_task(spiking(), "synapsnet", seed=0, options=QUICK)
    edges = edge_table.directed(fitted.edges).drop(columns="model_weight")
    untested = replace(fitted, edges=edges, connectivity=replace(fitted.connectivity, tested=None))
    state = FitState(untested.request, task, (), None, untested)
    actual = spike_coupling.fitted_couplings(state, 10).added_to(untested).connectivity
    assert actual.edges(q=0.05)["post_id"].tolist() == [11]


def test_the_models_own_weights_stay_beside_them(fitted, tmp_path):
    edges = edge_table.directed(fitted.edges)
    mean = fitted.connectivity.mean()
    for edge in edges.to_dict("records"):
        own = float(mean.sel(post=edge["post_id"], pre=edge["pre_id"]))
        assert edge["model_weight"] == pytest.approx(own, rel=1e-5)
    matrix, _ = couplings._mean_matrix(fitted)  # the exported matrix is the model's
    others = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(matrix[others], mean.to_numpy()[others], rtol=1e-5)
    back = fit_results.load(fitted.save(tmp_path / "run"))
    assert back.edges.attrs["measure"] == spike_coupling.MEASURE
    assert not figures.connectivity(back).collections  # dots belong to the matrix of spikes
    assert len(figures.couplings_of_recording(back).collections[0].get_offsets()) == 1


def test_the_verdict_names_the_null_and_the_filters(fitted):
    (text_shown,) = verdict._edges(fitted.metrics)
    assert text_shown.startswith(
        "1 of 12 edges at q < 0.05 against 10 jittered recordings (filters: "
    )


@pytest.mark.parametrize(
    ("binning", "edges", "warned"),
    [
        ({"quantity": "counts", "bin_width": 0.05}, None, True),
        ({"quantity": "counts", "bin_width": 0.05}, TESTED, True),
        ({"quantity": "counts", "bin_width": 0.05}, TESTED | {"null": "jitter"}, False),
        ({"quantity": "counts", "bin_width": 0.01}, None, False),
        ({"quantity": "dff", "bin_width": 0.1}, None, False),
    ],
)
def test_bins_that_are_coarser_than_synaptic_delays_are_named(binning, edges, warned):
    text_shown = verdict.of_bins(binning, {"edges": edges})
    assert bool(text_shown) is warned
    if warned:
        assert "Bins of 50 ms are coarser than synaptic delays" in text_shown[0]


@pytest.mark.parametrize(
    ("recording", "number", "limit", "message"),
    [
        ("traces", 20, 400, "the recording has dff. Use --null shift:20"),
        ("spikes", 9, 400, "10 jittered recordings are needed"),
        ("spikes", 20, 3, "4 units; couplings of spikes are computed for up to 3"),
        ("spikes", 10, 4, ""),
    ],
)
def test_which_jitter_null_is_refused(recording, number, limit, message, monkeypatch):
    monkeypatch.setattr(spike_coupling, "MOST_UNITS", limit)
    made = spiking(60.0) if recording == "spikes" else small_fits.imaging(3, 300)
    task = build_task(made, "synapsnet", seed=0, options=QUICK)
    if message:
        with pytest.raises(ConfigError, match=message):
            spike_coupling.check(task, Null("jitter", number))
    else:
        spike_coupling.check(task, Null("jitter", number))


@pytest.mark.parametrize(
    ("kind", "co_smoothing", "trainings"),
    [("jitter", True, 0), ("shift", False, 0), ("shift", True, 30), ("trials", True, 30)],
)
def test_only_a_co_smoothing_model_is_trained_again_for_its_edges(kind, co_smoothing, trainings):
    assert edge_tests.count(Null(kind, 20), co_smoothing=co_smoothing) == trainings


def test_runs_of_bins_are_intervals_of_seconds():
    made = Binned(
        session_id="made",
        values=np.zeros((8, 1), np.float32),
        time=0.05 + 0.1 * np.array([0, 1, 2, 3, 9, 10, 11, 12]),
        bin_width=0.1,
        valid=np.array([1, 1, 1, 1, 1, 0, 1, 1], bool),
        segment=np.repeat([0, 1], 4),
        neurons=Neurons(pd.DataFrame({"id": [0]}), "unit"),
        quantity="counts",
        covariates=np.zeros((8, 0), np.float32),
    )
    kept = np.array([0, 1, 1, 1, 1, 1, 1, 0], bool)
    actual = spike_coupling.intervals_of(made, kept)
    assert actual == pytest.approx(np.array([[0.1, 0.4], [0.9, 1.0], [1.1, 1.2]]))
    assert spike_coupling.intervals_of(made, np.zeros(8, bool)).shape == (0, 2)


def test_spikes_are_those_of_the_chosen_neurons():
    made = spiking(60.0)
    task = build_task(made, "synapsnet", seed=0, options=QUICK)
    actual = spike_coupling.spikes_of(task, made.neurons.take(np.array([2, 0])))
    np.testing.assert_array_equal(actual.of(0), made.activity.of(2))
    np.testing.assert_array_equal(actual.of(1), made.activity.of(0))
    assert len(actual.index) == 2
