"""Couplings against a known wiring: scored on named neurons, beside simple methods and a null."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from small_fits import LINEAR, SMALL_STNDT, imaging, network, units

import nwbdyn
from nwbdyn import metrics
from nwbdyn.cli import main
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.fitting.fit import fit

WEIGHT = network(8)


def edge_table(weight: np.ndarray, ids: np.ndarray, **columns: object) -> pd.DataFrame:
    post, pre = np.nonzero(weight)
    return pd.DataFrame({"pre": ids[pre], "post": ids[post], "weight": weight[post, pre]})


@pytest.fixture(scope="module")
def fitted():
    return fit(imaging(8, 1500), "netformer", epochs=15, options=LINEAR)


@pytest.fixture(scope="module")
def wiring(fitted):
    return edge_table(WEIGHT, fitted.neurons.ids)


def test_scores_are_those_of_the_matrices_off_the_diagonal(fitted, wiring):
    actual = nwbdyn.validate(fitted, wiring, shuffles=20)
    expected = metrics.agreement(fitted.connectivity.mean().to_numpy(), WEIGHT)
    assert actual.table.loc["netformer"].to_dict() == pytest.approx(expected, abs=1e-5)
    train = fitted.predictions.recorded[fitted.predictions.labels == 0]
    matrix = np.corrcoef(train.T)
    correlation = metrics.agreement((matrix + matrix.T) / 2, WEIGHT)
    assert actual.table.loc["correlation"].to_dict() == pytest.approx(correlation, abs=1e-5)
    assert {"influence", "partial correlation", "VAR ridge", "VAR lasso"} <= set(actual.table.index)
    assert (actual.num_neurons, actual.num_pairs) == (8, 56)
    assert actual.num_edges == np.count_nonzero(WEIGHT)


def test_partial_correlation_is_that_of_the_residuals(fitted, wiring):
    from nwbdyn.evaluation.connectome_comparison import _partial_correlation

    x = np.random.default_rng(0).normal(size=(400, 4)) @ np.triu(np.ones((4, 4)))
    others = np.column_stack([np.ones(400), x[:, 2:]])
    a, b = (x[:, k] - others @ np.linalg.lstsq(others, x[:, k], rcond=None)[0] for k in (0, 1))
    assert _partial_correlation(x)[0, 1] == pytest.approx(np.corrcoef(a, b)[0, 1])


def test_a_good_model_beats_shuffled_names_and_a_transposed_wiring_loses(fitted, wiring):
    actual = nwbdyn.validate(fitted, wiring, shuffles=200)
    assert actual.null["p"]["pearson"] == pytest.approx(1 / 201)
    assert actual.null["high"]["pearson"] < actual.table.loc["netformer", "pearson"]
    assert actual.table.loc["netformer", "direction"] > 0.1
    turned = wiring.rename(columns={"pre": "post", "post": "pre"})
    assert nwbdyn.validate(fitted, turned, shuffles=5).table.loc["netformer", "direction"] < -0.1
    assert actual.table.loc["correlation", "direction"] == 0


def test_only_neurons_that_the_wiring_names_take_part_and_the_others_are_listed(fitted, wiring):
    some = wiring[
        wiring["pre"].isin([100, 101, 102, 103]) & wiring["post"].isin([100, 101, 102, 103])
    ]
    extra = pd.DataFrame(
        {"pre": [100, 101, 102], "post": [103, 103, 999], "weight": [0.0, 0.0, 1.0]}
    )
    actual = nwbdyn.validate(fitted, pd.concat([some, extra]), shuffles=5)
    assert actual.unmapped == ("999",)
    assert set(actual.unnamed) == {"104", "105", "106", "107"}
    corner = metrics.agreement(fitted.connectivity.mean().to_numpy()[:4, :4], WEIGHT[:4, :4])
    assert actual.table.loc["netformer", "pearson"] == pytest.approx(corner["pearson"], abs=1e-5)


def test_rows_of_one_pair_add_up_and_a_wiring_without_weights_has_ones(fitted, wiring):
    halves = pd.concat([wiring, wiring]).assign(weight=lambda t: t["weight"] / 2)
    whole = nwbdyn.validate(fitted, wiring, shuffles=2).table
    pd.testing.assert_frame_equal(nwbdyn.validate(fitted, halves, shuffles=2).table, whole)
    bare = nwbdyn.validate(fitted, wiring[["pre", "post"]], shuffles=2)
    assert not bare.signed
    assert np.isnan(bare.table.loc["netformer", "sign_accuracy"])
    sizes = np.abs(fitted.connectivity.mean().to_numpy())
    expected = metrics.agreement(sizes, (WEIGHT != 0).astype(float))
    assert bare.table.loc["netformer", "pearson"] == pytest.approx(expected["pearson"], abs=1e-5)


def test_an_undirected_wiring_is_compared_pair_by_pair(fitted, wiring):
    actual = nwbdyn.validate(fitted, wiring, directed=False, shuffles=5)
    turned = wiring.rename(columns={"pre": "post", "post": "pre"})
    again = nwbdyn.validate(fitted, turned, directed=False, shuffles=5)
    pd.testing.assert_frame_equal(actual.table, again.table)
    assert actual.num_pairs == 28
    assert actual.table["direction"].isna().all()


def test_names_are_shuffled_inside_their_groups_only():
    from nwbdyn.evaluation.connectome_comparison import _orders

    groups = np.array(["a", "b", "a", "b", "b"])
    for order in _orders(groups, 50, seed=0):
        assert (groups[order] == groups).all()
        assert sorted(order) == [0, 1, 2, 3, 4]


def test_a_name_that_two_neurons_share_takes_no_part():
    recording = imaging(8, 400)
    recording.neurons.table["label"] = ["a", "b", "c", "d", "d", "", "e", "f"]
    made = fit(recording, "netformer", epochs=1, options=LINEAR)
    wiring = pd.DataFrame({"pre": ["a", "b", "d", "e"], "post": ["b", "c", "a", "d"]})
    actual = nwbdyn.validate(made, wiring, name_column="label", shuffles=2)
    assert actual.ambiguous == ("d",)
    assert actual.num_neurons == 4
    assert actual.unnamed == ("f",)


def test_held_in_neurons_alone_are_validated_where_some_are_held_out():
    made = fit(units(), "stndt", epochs=1, options=SMALL_STNDT, heldout_resamples=1)
    ids = made.neurons.ids
    everyone = edge_table(np.ones((12, 12)) - np.eye(12), ids)
    everyone.loc[::3, "weight"] = 0.0
    actual = nwbdyn.validate(made, everyone, shuffles=2)
    assert actual.num_neurons == 7
    assert actual.held_out == tuple(sorted(map(str, made.split["held_out"])))
    assert actual.unmapped == ()
    assert {"Poisson GLM", "VAR ridge"} <= set(actual.table.index)


def test_what_cannot_be_compared_is_refused(fitted, wiring, tmp_path):
    with pytest.raises(ConfigError, match="no column 'label'; they have: id"):
        nwbdyn.validate(fitted, wiring, name_column="label")
    with pytest.raises(DataError, match="is no simulation"):
        nwbdyn.validate(fitted)
    with pytest.raises(DataError, match=r"names 0 of 8 neurons.*It names: AVAL"):
        nwbdyn.validate(fitted, pd.DataFrame({"pre": ["AVAL"], "post": ["AVAR"]}))
    path = tmp_path / "edges.csv"
    path.write_text("source,target\n1,2\n")
    with pytest.raises(DataError, match="needs the columns pre and post; it has: source, target"):
        nwbdyn.validate(fitted, path)
    path.write_text("pre,post,weight\n100,101,strong\n")
    with pytest.raises(DataError, match="1 weights that are not numbers"):
        nwbdyn.validate(fitted, path)


def test_the_command_line_scores_a_sample_and_a_table_of_edges(tmp_path, fitted, wiring):
    sample = nwbdyn.fit("sample:network?neurons=8&steps=600", "netformer", epochs=2, options=LINEAR)
    run = sample.save(tmp_path / "sample")
    done = CliRunner().invoke(main, ["validate", str(run), "--shuffles", "20"])
    assert done.exit_code == 0, done.output
    assert "VAR ridge" in done.stdout
    assert "shuffled, 97.5 %" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    path = tmp_path / "edges.csv"
    pd.concat([wiring, pd.DataFrame({"pre": [7], "post": [100], "weight": [1.0]})]).to_csv(path)
    run = fitted.save(tmp_path / "run")
    call = ["validate", str(run), "--edges", str(path), "--shuffles", "20"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    assert "1 names in the wiring that no neuron has: 7." in done.stdout
    quiet = CliRunner().invoke(main, [*call, "--quiet"])
    assert done.stdout.startswith(quiet.stdout)  # the table without its sentences
    assert len(quiet.stdout.splitlines()) < len(done.stdout.splitlines()) - 2
    logged = CliRunner().invoke(main, [*call, "--log-format", "jsonl"])
    last = json.loads(logged.stderr.splitlines()[-1])
    assert (last["stage"], last["done"], last["total"]) == ("shuffling", 20, 20)
