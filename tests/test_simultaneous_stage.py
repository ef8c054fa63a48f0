"""Simultaneous couplings of a fit: rows of their own kind, a null, a heat map."""

from dataclasses import replace

import numpy as np
import pytest
import small_fits

import nwbdyn
from nwbdyn.cli import scoreboard
from nwbdyn.connectivity import edge_table
from nwbdyn.fitting.stage import FitInputs
from nwbdyn.fitting.stages import simultaneous_coupling
from nwbdyn.fitting.task import build_task
from nwbdyn.report import figures
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.simultaneous import Signal, SimultaneousPairs

SHORT = {"epochs": 1, "options": {"history": 2}}


@pytest.fixture(scope="module")
def fitted():
    return nwbdyn.fit(small_fits.imaging(5, 900), "netformer", null="shift:20", **SHORT)


def test_simultaneous_edges_are_rows_of_their_own(fitted):
    pairs = edge_table.simultaneous(fitted.edges)
    assert len(pairs) == 10
    assert len(edge_table.directed(fitted.edges)) == 20
    assert set(pairs["lag"]) == {0}
    assert (pairs["pre_id"] < pairs["post_id"]).all()  # each pair once
    assert pairs[["se", "p", "q"]].notna().all(axis=None)
    assert fitted.connectivity.tested is fitted.edges
    assert fitted.metrics["simultaneous"]["num_pairs"] == 10
    assert fitted.metrics["simultaneous"]["num_significant"] == int((pairs["q"] <= 0.05).sum())


def test_directed_statistics_do_not_count_them(fitted):
    assert fitted.metrics["edges"]["num_edges"] == 20
    assert len(fitted.connectivity.edges()) == 20
    assert np.isfinite(figures.connectivity(fitted).images[0].get_array()).sum() == 20


def test_their_heat_map_is_symmetric_and_their_own(fitted):
    axes = figures.simultaneous(fitted)
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, shown.T)
    weights = edge_table.simultaneous(fitted.edges)["weight"]
    np.testing.assert_allclose(
        np.sort(shown[np.triu_indices(5, 1)]), np.sort(weights.to_numpy()), rtol=1e-6
    )


def test_without_a_null_they_have_no_q():
    plain = nwbdyn.fit(small_fits.imaging(5, 700), "netformer", **SHORT)
    pairs = edge_table.simultaneous(plain.edges)
    assert len(pairs) == 10
    assert pairs["weight"].notna().all()
    assert pairs[["p", "q"]].isna().all(axis=None)
    assert plain.metrics["simultaneous"]["num_significant"] is None
    assert "simultaneous" in scoreboard.of_fit(plain)


def test_too_many_neurons_or_too_few_frames_leave_a_note(monkeypatch):
    short = nwbdyn.fit(small_fits.imaging(5, 150), "netformer", **SHORT)
    assert not len(edge_table.simultaneous(short.edges))
    (note,) = [note for note in short.notes if note.code == "no-simultaneous"]
    assert "149 frames with a past are too few" in note.reason
    monkeypatch.setattr(simultaneous_coupling, "MOST_NEURONS", 3)
    wide = nwbdyn.fit(small_fits.imaging(5, 700), "netformer", **SHORT)
    (note,) = [note for note in wide.notes if note.code == "no-simultaneous"]
    assert "5 neurons are more than the 3" in note.reason


def test_the_verdict_counts_pairs_that_were_tested():
    pairs = SimultaneousPairs(10, 2, 0.05, 20, "", Signal(1, None, 0.1, 0.9))
    (sentence,) = pairs.sentences()
    assert sentence.startswith("2 of 10 pairs act together within one bin")
    assert "Common input to a few neurons has the same effect" in sentence
    assert replace(pairs, num_significant=None).sentences() == []


def test_co_smoothing_models_have_none():
    task = build_task(small_fits.units(), "stndt", seed=0, options=small_fits.SMALL_STNDT)
    stage = simultaneous_coupling.SimultaneousCoupling
    inputs = FitInputs(task.recording, refit=nwbdyn.fit)
    assert stage.plan(FitRequest("stndt"), task, inputs) is None
    task = build_task(small_fits.imaging(4, 300), "netformer", seed=0, options={"history": 2})
    assert stage.plan(FitRequest("netformer"), task, inputs) == stage(0)
    fold = FitRequest.from_keywords("netformer", fold=(0, 3))
    assert stage.plan(fold, task, inputs) is None


@pytest.mark.parametrize(
    ("null", "number"), [(None, 0), ("shift:9", 0), ("shift:10", 10), ("jitter:20", 20)]
)
def test_how_many_surrogates_a_null_gives(null, number):
    assert simultaneous_coupling.num_surrogates(null) == number
