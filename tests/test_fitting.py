"""Fitting: from a recording to scores and couplings."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_fits import LINEAR, SMALL_STNDT, SOURCE, assert_same_fit, imaging, network, units

import nwbdyn
from nwbdyn.connectivity import edge_table
from nwbdyn.fitting.fit import fit
from nwbdyn.results import fit_results


def test_a_next_bin_fit_scores_model_and_baselines_on_the_same_bins():
    made = fit(imaging(), "netformer", epochs=3, options=LINEAR)
    metrics = made.metrics
    assert metrics["primary"]["metric"] == "r2"
    assert metrics["primary"]["baseline"] in metrics["baselines"]
    for scores in (metrics["model"], *metrics["baselines"].values()):
        assert set(scores) == {"train", "val", "test"}
        named = {"r2", "pearson", "mse", "skill"}
        further = {f"{metric}@{horizon}" for metric in named for horizon in (5, 10, 32)}
        assert set(scores["train"]) == named
        assert set(scores["test"]) == named | further
    assert metrics["baselines"]["persistence"]["test"]["skill"] == 0
    low, high = metrics["intervals"]["model"]["test"]["r2"]
    assert low < metrics["model"]["test"]["r2"] < high
    test = made.predictions.labels == 2
    values = imaging().activity.data
    error = np.square(values - made.predictions.values)[test].mean(axis=0)
    r2 = 1 - error / values[test].var(axis=0)
    assert metrics["model"]["test"]["r2"] == pytest.approx(r2.mean(), abs=1e-5)
    assert metrics["num_bins"]["r2"]["test"] == test.sum()


def test_a_prediction_stands_wherever_the_context_reaches_and_nowhere_else():
    made = fit(
        imaging(), "netformer", epochs=1, options=LINEAR | {"history": 3, "raw_values": False}
    )
    predicted = np.isfinite(made.predictions.values).all(axis=1)
    labels = made.predictions.labels
    np.testing.assert_array_equal(predicted, (labels < 3) & (np.arange(600) >= 3))


def test_a_planted_network_is_found_again():
    weight = network(8)
    made = fit(imaging(8, 1500), "netformer", epochs=15, options=LINEAR)
    actual = made.connectivity.mean().to_numpy()
    off = ~np.eye(8, dtype=bool)
    agreement = np.corrcoef(actual[off], weight[off])[0, 1]
    rng = np.random.default_rng(0)
    shuffled = [np.corrcoef(actual[off], rng.permutation(weight[off]))[0, 1] for _ in range(200)]
    assert agreement > max(0.8, *shuffled)
    assert np.corrcoef(actual.T[off], weight[off])[0, 1] < agreement  # row = receiver
    strongest = made.edges.iloc[0]
    assert actual[strongest["post_id"] - 100, strongest["pre_id"] - 100] == pytest.approx(
        strongest["weight"]
    )


def test_a_fit_without_coupling_shows_what_coupling_adds():
    made = fit(imaging(8, 1500), "netformer", epochs=10, options=LINEAR)
    coupling = made.metrics["coupling"]
    assert coupling["metric"] == "r2"
    assert coupling["with"] == pytest.approx(made.metrics["model"]["test"]["r2"], abs=1e-6)
    assert coupling["adds"] == pytest.approx(coupling["with"] - coupling["without"])
    assert coupling["interval"][0] > 0
    alone = fit(imaging(8, 1500), "netformer", epochs=10, options=LINEAR | {"coupling": False})
    assert "coupling" not in alone.metrics
    assert alone.metrics["model"]["test"]["r2"] == pytest.approx(coupling["without"], abs=1e-6)


def test_influence_of_a_linear_network_is_its_weights():
    made = fit(imaging(8, 1500), "netformer", epochs=15, options=LINEAR)
    weight = network(8)
    edges = edge_table.directed(made.edges)
    planted = weight[edges["post_id"] - 100, edges["pre_id"] - 100]
    assert np.corrcoef(edges["influence"], planted)[0, 1] > 0.8


def test_a_co_smoothing_fit_is_scored_on_held_out_units_only():
    made = fit(units(), "stndt", epochs=3, options=SMALL_STNDT, heldout_resamples=1)
    assert made.predictions.held_out.sum() == 5
    assert made.split["held_out"] == made.neurons.ids[made.predictions.held_out].tolist()
    assert set(made.metrics["model"]["test"]) == {"co_bps"}
    assert set(made.metrics["baselines"]) == {"smoothing + GLM", "Poisson GLM"}
    assert set(made.metrics["necessity"]["loss"]) == {
        "uniform",
        "trial-mean",
        "shuffled",
        "identity",
    }
    assert len(made.connectivity.neurons) == 7
    assert made.edges["influence"].isna().all()  # it was not trained with causal masks
    assert made.edges.attrs["num_pairs"] == 42
    assert not made.connectivity.causal


def test_co_bps_of_a_fit_is_what_its_definition_says():
    made = fit(units(), "stndt", epochs=2, options=SMALL_STNDT, heldout_resamples=1)
    held_out = np.flatnonzero(made.predictions.held_out)
    test = np.isfinite(made.predictions.values[:, held_out[0]]) & (made.predictions.labels == 2)
    edges = np.append(made.predictions.time[test] - 0.01, made.predictions.time[test][-1] + 0.01)
    activity = units().activity
    counts = np.stack([np.histogram(activity.of(unit), edges)[0] for unit in held_out], axis=1)
    rates = made.predictions.values[test][:, held_out].astype(float)
    model = (rates - counts * np.log(rates)).sum()
    null = counts.mean(axis=0)
    null_loss = (null - counts * np.log(null)).sum()
    co_bps = (null_loss - model) / (counts.sum() * np.log(2))
    assert made.metrics["model"]["test"]["co_bps"] == pytest.approx(co_bps, abs=1e-5)


def test_rates_of_slow_units_start_at_their_mean():
    slow = units(seconds=60)
    kept = np.random.default_rng(0).random(len(slow.activity.times)) < 0.05  # about 1 Hz
    index = np.cumsum(kept)[slow.activity.index - 1]
    slow = replace(
        slow, activity=replace(slow.activity, times=slow.activity.times[kept], index=index)
    )
    options = SMALL_STNDT | {"learning_rate": 1e-6}
    made = fit(slow, "stndt", epochs=1, options=options, heldout_resamples=1)
    assert made.metrics["model"]["train"]["co_bps"] > -0.2


def test_several_seeds_are_averaged_and_each_is_kept():
    one, two = (fit(imaging(), "netformer", seed=s, epochs=2, options=LINEAR) for s in (0, 1))
    both = fit(imaging(), "netformer", seeds=2, epochs=2, options=LINEAR)
    mean = (one.predictions.values + two.predictions.values) / 2
    # Stacked members sum in another order: some float32 roundings (6e-8) over the updates.
    np.testing.assert_allclose(both.predictions.values, mean, atol=2e-5)
    assert both.metrics["seeds"]["0"]["test"]["r2"] == pytest.approx(
        one.metrics["model"]["test"]["r2"], abs=1e-6
    )
    scaled = []
    for single in (one, two):
        matrix = single.connectivity.mean().to_numpy()
        off = ~np.eye(len(matrix), dtype=bool)
        scaled.append(matrix / np.sqrt(np.square(matrix[off]).mean()))
    edge = both.edges.iloc[3]
    entries = [matrix[edge["post_id"] - 100, edge["pre_id"] - 100] for matrix in scaled]
    assert edge["weight"] == pytest.approx(np.mean(entries), abs=1e-5)
    assert edge["seed_sd"] == pytest.approx(np.std(entries, ddof=1), abs=1e-5)
    assert edge_table.directed(both.edges)["sign_agreement"].between(0.5, 1).all()


def test_folds_add_mean_and_spread_over_interleaved_blocks():
    made = fit(imaging(), "netformer", epochs=1, options=LINEAR, folds=3)
    folds = made.metrics["folds"]
    assert folds["num_folds"] == 3
    values = folds["model"]["r2"]["values"]
    assert folds["model"]["r2"]["mean"] == pytest.approx(np.mean(values))
    assert len(set(values)) == 3
    single = fit(imaging(), "netformer", epochs=1, options=LINEAR, fold=(1, 3))
    assert values[1] == single.metrics["model"]["test"]["r2"]


def test_a_fit_carries_what_an_export_needs():
    made = fit(imaging(), "netformer", epochs=1, options=LINEAR)
    assert made.session["identifier"] == "made-1"
    assert made.session["subject"] == {"subject_id": "a", "species": "Mus musculus"}
    assert made.source == SOURCE
    assert {"nwbdyn", "torch", "numpy", "python"} <= set(made.versions)
    assert made.device == "cpu"
    assert made.environment["seeds"] == [0]


def test_the_digest_of_what_is_fitted_tells_one_recording_from_another():
    one, same, other = (
        fit(recording, "netformer", epochs=1, options=LINEAR).binning["tensors"]
        for recording in (imaging(), imaging(), imaging(seed=1))
    )
    assert one == same != other


def test_covariates_reach_the_model_and_the_baselines():
    recording = imaging()
    speed = nwbdyn.recording.Covariate(
        "speed", np.sin(np.arange(600) / 7.0)[:, None], recording.activity.timestamps
    )
    recording = replace(recording, covariates=(speed,))
    made = fit(recording, "netformer", epochs=1, options=LINEAR, covariates=["speed"])
    assert made.binning["covariates"] == ["speed"]
    assert "covariate_embedding" in made.weights


def test_trials_that_are_named_decide_the_split():
    table = pd.DataFrame({"start_time": np.arange(12) * 5.0, "stop_time": np.arange(12) * 5.0 + 4})
    recording = replace(imaging(), intervals={"epochs": table})
    made = fit(recording, "netformer", epochs=1, options=LINEAR, trials="epochs")
    assert "whole trials" in made.split["rule"]
    outside = (made.predictions.time % 5) >= 4
    assert np.isnan(made.predictions.values[outside]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "options", "choices"),
    [
        ("ophys/zebrafish_tectum_triplett2018_f1.nwb", "netformer", {"history": 5}, {}),
        ("ophys/celegans_dag2023_2022-07-26-31.nwb", "netformer", {"history": 5}, {}),
        (
            "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
            "stndt",
            {"layers": 1},
            {"bin_width": 0.1, "heldout_resamples": 1},
        ),
        (
            "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
            "stndt",
            {"layers": 1},
            {"bin_width": 0.1, "heldout_resamples": 1},
        ),
        (
            "ecephys/rat_hippocampus_nelpy_linear-track.nwb",
            "netformer",
            {"batch_size": 512},
            {"bin_width": 0.1},
        ),
    ],
)
def test_a_real_recording_is_fitted_saved_and_loaded(data, tmp_path, name, model, options, choices):
    run = tmp_path / "run"
    made = fit(str(data / name), model, epochs=2, options=options, run=run, **choices)
    back = fit_results.load(run)
    assert_same_fit(back, made)
    metric = back.metrics["primary"]["metric"]
    assert np.isfinite(back.metrics["model"]["test"][metric])
    assert back.metrics["primary"]["baseline"] in back.metrics["baselines"]
    assert back.source.digest.startswith("sha256:")
    assert np.isfinite(back.edges["weight"]).all()
