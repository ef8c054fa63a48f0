"""A fit with a null: tested edges in run, file and text; and what cannot be tested."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small import poisson_spikes, rois, trial_table, units

import nwbdyn
from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.evaluation import connectome_comparison, verdict
from nwbdyn.fitting import train_models
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stages import edge_tests, surrogate_data
from nwbdyn.fitting.task import build_task
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.recording import Recording
from nwbdyn.report import sections
from nwbdyn.request import DataOptions
from nwbdyn.results import fit_results, methods_text, run_directory
from nwbdyn.statistics.surrogates import Null

QUICK = {
    "updates": 60,
    "learning_rate": 0.02,
    "hidden": 8,
    "embedding": 2,
    "context": 3,
    "validate_every": 2,
}
MASKED = {
    **{"updates": 6, "layers": 1, "heads": 1, "feedforward": 8, "context": 20},
    **{"causal_mask_ratio": 0.2, "contrast": "none", "validate_every": 3},
}  # STNDT
SUBJECT = {"subject_id": "a", "species": "Mus musculus", "sex": "F", "age": "P90D"}
NUM_NEURONS = 6
EDGES = {(1, 0): 0.5, (4, 2): -0.5, (3, 5): 0.5}  # (post, pre) rows


def traces(edges: dict[tuple[int, int], float], *, num_frames: int = 700, **more) -> Recording:
    """x(t + 1) = .4 x(t) + W x(t) + noise at 10 Hz; three excitatory and three other neurons."""
    draw = np.random.default_rng(0)
    weight = 0.4 * np.eye(NUM_NEURONS)
    for edge, value in edges.items():
        weight[edge] = value
    x = np.zeros((num_frames, NUM_NEURONS))
    for frame in range(1, num_frames):
        x[frame] = weight @ x[frame - 1] + draw.normal(0, 0.3, NUM_NEURONS)
    made = rois(x, np.arange(num_frames) / 10, **more)
    made.neurons.table["cell_type"] = ["E", "E", "E", "I", "I", "I"]
    return replace(made, session_start_time="2020-01-01T00:00:00+00:00", subject=SUBJECT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "coupled"
    fit(traces(EDGES), "synapsnet", null="shift:20", options=QUICK, run=folder)
    return folder


@pytest.fixture(scope="module")
def fitted(run):
    return fit_results.load(run)


def test_planted_edges_are_called_and_little_else(fitted):
    called = fitted.connectivity.edges(q=0.05)
    pairs = set(zip(called["post_id"], called["pre_id"], strict=True))
    assert set(EDGES) <= pairs
    assert len(pairs) <= 4
    signs = {(row.post_id, row.pre_id): row.sign for row in called.itertuples()}
    assert all(signs[edge] == np.sign(value) for edge, value in EDGES.items())


def test_every_edge_carries_its_statistics(fitted):
    edges = edge_table.directed(fitted.edges)
    assert len(edges) == NUM_NEURONS * (NUM_NEURONS - 1)
    for column in ("se", "p", "q", "model_weight"):
        assert edges[column].notna().all()
    assert {"seed_sd", "sign_agreement"} <= set(edges)  # of the model's weight
    assert set(edges["lag"]) <= {1, 2, 3}
    planted = edges.set_index(["post_id", "pre_id"]).loc[list(EDGES)]
    assert (planted["lag"] == 1).all()
    assert (edges["se"] > 0).all()
    assert edges["p"].between(0, 1).all()
    assert edges["p"].min() == pytest.approx(edges.attrs["smallest_p"])
    assert "independent" in edges.attrs["null_hypothesis"]
    assert edges.attrs["measure"].endswith("summed over lags 1 to 3")


def test_pairs_of_cell_types_are_kept_with_the_run(fitted):
    assert len(fitted.groups) == 4
    assert set(zip(fitted.groups["post"], fitted.groups["pre"], strict=True)) == {
        (post, pre) for post in "EI" for pre in "EI"
    }
    assert fitted.groups["weight"].notna().all()
    assert "low_within_animal" in fitted.groups


def test_one_sentence_says_how_many_edges_stand_and_what_was_tested(fitted):
    message = " ".join(verdict.sentences(fitted.metrics, "synapsnet"))
    assert (
        "of 30 edges at q < 0.05 against 20 shifted recordings (directed, a joint test of"
        in message
    )


def test_the_report_shows_couplings_over_lags_beside_the_weights_of_the_model(fitted):
    titles = [picture.title for picture in sections._connectivity(fitted)]
    assert titles[:2] == ["Couplings over lags", sections.MATRIX]
    assert "Couplings were fitted to all recorded bins" in methods_text._edges(fitted.metrics)


def test_the_model_itself_keeps_its_weights(fitted):
    edges = edge_table.directed(fitted.edges)
    mean = fitted.connectivity.mean().to_numpy()
    own = mean[edges["post_id"], edges["pre_id"]]
    np.testing.assert_allclose(edges["model_weight"], own, rtol=1e-5)
    actual = connectome_comparison._estimates(fitted)
    np.testing.assert_allclose(actual["synapsnet"][1, 0], mean[1, 0], rtol=1e-5)
    assert "couplings of the recording" in actual


def test_the_exported_file_says_the_same_of_edges(fitted, tmp_path):
    nwbdyn.export(fitted, tmp_path / "coupled.nwb")
    with nwbdyn.open_results(tmp_path / "coupled.nwb") as read:
        ours, theirs = fitted.connectivity.edges(q=0.05), read.connectivity.edges(q=0.05)
        assert ours[["pre", "post"]].equals(theirs[["pre", "post"]])
        for column in ("weight", "se", "p", "q", "lag"):
            assert np.allclose(ours[column], theirs[column])
        assert read.edges.attrs["measure"] == fitted.edges.attrs["measure"]
        assert read.edges.attrs["null_hypothesis"] == fitted.edges.attrs["null_hypothesis"]
        assert read.edges.attrs["smallest_p"] == fitted.edges.attrs["smallest_p"]


def test_a_next_bin_model_is_not_trained_again_for_its_edges(run):
    assert not (run / run_directory.REFITS).exists()


def test_an_interrupted_null_goes_on_where_it_was(tmp_path):
    run, recording = tmp_path / "run", units(poisson_spikes(12, 30.0))
    requested = {"null": "shift:2", "options": MASKED, "influence_windows": 4, "run": run}
    made = fit(recording, "stndt", **requested)
    kept = sorted((run / run_directory.REFITS).glob("*.npy"))
    assert len(kept) == 2 + 2 * edge_tests.HALF_PAIRS
    (run / run_directory.METRICS).unlink()
    kept[0].unlink()
    written = kept[1].stat().st_mtime_ns
    again = fit(recording, "stndt", resume=True, **requested)
    # alone, a refit rounds differently than among others
    pd.testing.assert_frame_equal(again.edges, made.edges, rtol=1e-3)
    assert kept[0].exists()
    assert kept[1].stat().st_mtime_ns == written


@pytest.mark.slow
def test_independent_neurons_have_no_edge(tmp_path):
    alone = fit(traces({}), "synapsnet", null="shift:20", options=QUICK | {"preset": "paper"})
    assert edge_table.directed(alone.edges)["q"].isna().all()
    assert edge_table.directed(alone.edges)["p"].notna().all()
    message = verdict.sentences(alone.metrics, "synapsnet")
    assert any(line.startswith("No edge can be called significant") for line in message)
    with pytest.raises(ResultsError, match="No edge can be called significant: coupling adds"):
        alone.connectivity.edges(q=0.05)
    nwbdyn.export(alone, tmp_path / "alone.nwb")
    with (
        nwbdyn.open_results(tmp_path / "alone.nwb") as read,
        pytest.raises(ResultsError, match="coupling adds nothing"),
    ):
        read.connectivity.edges(q=0.05)


def test_without_a_null_edges_are_not_to_be_read():
    plain = fit(traces(EDGES), "synapsnet", options=QUICK)
    assert plain.edges["p"].isna().all()
    message = verdict.sentences(plain.metrics, "synapsnet")
    assert "No null was run; add --null shift:20 before reading edges." in message
    with pytest.raises(ResultsError, match="No null was run"):
        plain.connectivity.edges(q=0.05)


def test_q_of_some_windows_is_refused(fitted):
    mask = np.ones(fitted.connectivity.num_windows, bool)
    with pytest.raises(ResultsError, match="every window"):
        fitted.connectivity.edges(q=0.05, mask=mask)


def test_trials_are_shuffled_where_a_table_is_named():
    table = trial_table(np.arange(0, 69, 2.0), 1.9, cond=np.tile([1, 2], 18)[:35])
    recording = traces(EDGES, trials=table)
    short = QUICK | {"updates": 10}
    made = fit(recording, "synapsnet", null="trials:2", trials="trials", options=short)
    assert "by cond" in made.edges.attrs["null_hypothesis"]
    with pytest.raises(ConfigError, match="name the interval table with --trials"):
        fit(recording, "synapsnet", null="trials:2", options=QUICK)


def test_attention_maps_are_not_tested():
    recording = units(poisson_spikes(24, 60.0))
    with pytest.raises(ConfigError, match="add --set causal_mask_ratio"):
        fit(recording, "stndt", null="shift:20")


def test_the_predictive_influence_of_stndt_is_tested(tmp_path):
    recording = units(poisson_spikes(12, 30.0))
    made = fit(
        replace(recording, session_start_time="2020-01-01T00:00:00+00:00", subject=SUBJECT),
        "stndt",
        null="shift:2",
        options=MASKED,
        influence_windows=4,
        run=tmp_path / "run",
    )
    edges = made.edges
    held_in = int((~made.predictions.held_out).sum())
    assert len(edges) == held_in * (held_in - 1)
    assert edges[["se", "p", "half_split_agreement"]].notna().all(axis=None)
    assert edges["q"].isna().all()  # two surrogates cannot reach .05
    assert edges.attrs["tested"] == "influence"
    assert edges.attrs["null_hypothesis"].startswith("of the column 'influence': neurons are indep")
    assert "coincidence-unknown" in [note.code for note in made.notes]
    again = fit_results.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.edges, edges)
    assert again.edges.attrs["null_hypothesis"] == edges.attrs["null_hypothesis"]
    nwbdyn.export(made, tmp_path / "made.nwb")


def test_what_is_tested_of_stndt_is_the_influence_over_test_windows():
    problem = build_task(units(poisson_spikes(12, 60.0)), "stndt", seed=0, options=MASKED)
    (one,) = train_models.train_seeds(problem, [0], RunContext())
    held_in = problem.split.held_in
    every = [one.model.influence(batch) for batch in problem.windows.batches("test", 8)]
    mean = torch.cat(every).mean(0)[held_in][:, held_in].numpy()
    ours = edge_tests.matrix(one.model, problem.windows)
    assert ours == pytest.approx(mean, abs=1e-6)


def test_windows_that_move_about_stay_in_their_half():
    problem = build_task(units(poisson_spikes(12, 120.0)), "stndt", seed=0, options=MASKED)
    half = surrogate_data.half_of_blocks(problem, np.random.default_rng(0))
    length = problem.windows.length
    for chosen in (half, ~half):
        windows = surrogate_data.windows_over(problem, problem.binned, targets=chosen)
        for generator in (None, torch.Generator().manual_seed(0)):
            starts = windows.ordered("train", generator).numpy()
            assert chosen[starts[:, None] + np.arange(length)].all()
        assert np.array_equal(windows.starts("test"), problem.windows.starts("test"))


def test_aligned_trials_fall_into_one_half_each():
    table = trial_table(np.arange(0, 119, 1.0), 0.8)
    recording = units(poisson_spikes(12, 120.0), trials=table)
    problem = build_task(
        recording, "stndt", seed=0, options=MASKED, data=DataOptions(trials="trials")
    )
    assert problem.aligned is not None
    half = surrogate_data.half_of_blocks(problem, np.random.default_rng(0))
    parts = [
        surrogate_data.windows_over(problem, problem.binned, targets=chosen).starts("train")
        for chosen in (half, ~half)
    ]
    whole = problem.windows.starts("train")
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(whole))
    make, words = surrogate_data.recipe(problem, Null("trials", 2))
    shuffled = make(np.random.default_rng(0))
    windows = surrogate_data.windows_over(problem, shuffled)
    kept = windows.starts("train")  # none that reaches into the gap between two splits
    assert set(kept) < set(whole)
    assert len(kept) == len(whole) - 1
    assert "all trials are one condition" in words
    own, other = (b.values[whole[0] : whole[0] + 10] for b in (problem.binned, shuffled))
    assert not np.array_equal(own, other)


def test_windows_that_overlap_cannot_be_shuffled():
    table = trial_table(np.arange(0, 59, 0.5), 0.8)
    recording = units(poisson_spikes(12, 60.0), trials=table)
    problem = build_task(
        recording, "stndt", seed=0, options=MASKED, data=DataOptions(trials="trials")
    )
    with pytest.raises(ConfigError, match="reach into the next one"):
        edge_tests.check(problem, Null("trials", 2))


def test_halves_of_the_blocks_share_no_target_and_leave_none_out():
    problem = build_task(traces(EDGES), "synapsnet", seed=0, options=QUICK)
    half = surrogate_data.half_of_blocks(problem, np.random.default_rng(0))
    parts = [
        surrogate_data.windows_over(problem, problem.binned, targets=chosen).starts("train")
        for chosen in (half, ~half)
    ]
    whole = problem.windows.starts("train")
    assert np.array_equal(np.sort(np.concatenate(parts)), whole)
    assert abs(len(parts[0]) - len(parts[1])) < 0.1 * len(whole)


def test_a_half_keeps_the_scale_of_the_whole():
    problem = build_task(traces(EDGES), "synapsnet", seed=0, options=QUICK)
    half = surrogate_data.half_of_blocks(problem, np.random.default_rng(0))
    windows = surrogate_data.windows_over(problem, problem.binned, targets=half)
    assert np.array_equal(windows.mean, problem.windows.mean)
    assert np.array_equal(windows.sd, problem.windows.sd)


def test_surrogates_differ_by_number_and_repeat_by_seed():
    problem = build_task(traces(EDGES), "synapsnet", seed=0, options=QUICK)
    draw, _ = surrogate_data.recipe(problem, Null("shift", 2))
    first, again, other = (draw(np.random.default_rng([0, k, 0])).values for k in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_halves_start_from_seeds_of_their_own():
    frozen = {"start": 1.0, "learning_rate": 1e-9, "epochs": 1, "ridge": 0.0, "static": True}
    problem = build_task(traces(EDGES), "netformer", seed=0, options=frozen | {"embedding": 9})
    trained = train_models.train_seeds(problem, [0], RunContext())
    actual = edge_tests.collect(problem, trained, Null("shift", 2), RunContext(), seed=0)
    # nothing was learned, so what a matrix holds is its start
    for one in actual.null:
        np.testing.assert_allclose(one, actual.weight, atol=1e-5)
    starts = actual.halves.reshape(-1, actual.weight.size)
    apart = np.abs(starts[:, None] - starts).max(axis=-1)
    assert apart[~np.eye(len(starts), dtype=bool)].min() > 0.1
    assert np.abs(starts - actual.weight.ravel()).max(axis=1).min() > 0.1
