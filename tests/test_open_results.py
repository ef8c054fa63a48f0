"""An exported file opens as the same Fit, and reads arrays only on access."""

from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import numpy as np
import pandas as pd
import pytest

import nwbdyn
from nwbdyn import disclosure, optional
from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results import open_results
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.recording import LazyArray
from nwbdyn.workflows.export import export

FORMS = ("netformer", "gain", "attention", "static", "dense")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return lab_files.write_imaging(tmp_path / "lab.nwb")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("large", [0, 2**20])
def test_connectivity_answers_from_the_file_as_it_did_in_memory(
    source, tmp_path, form, large, monkeypatch
):
    monkeypatch.setattr(open_results, "LARGE", large)  # 0: every array stays in the file
    fit = lab_files.fit_of(source, form=form)
    with nwbdyn.open_results(export(fit, tmp_path / "out.nwb")) as back:
        wanted, actual = fit.connectivity, back.connectivity
        assert (actual.form, actual.window, actual.measure, actual.causal) == (
            wanted.form, wanted.window, wanted.measure, wanted.causal,
        )  # fmt: skip
        assert actual.attributes == wanted.attributes
        if form != "static":  # one matrix, which is small
            assert all(isinstance(a, LazyArray) for a in actual.arrays.values()) is (large == 0)
        np.testing.assert_array_equal(actual.time, wanted.time)
        np.testing.assert_array_equal(actual.at(15.2), wanted.at(15.2))
        np.testing.assert_allclose(actual.mean(), wanted.mean(), rtol=1e-6)
        np.testing.assert_array_equal(actual.by_cell_type(), wanted.by_cell_type())
        ids = wanted.neurons.ids
        one, other = (c.over_time(pre=ids[:2], post=ids[2:4]) for c in (actual, wanted))
        np.testing.assert_array_equal(one, other)
        assert (
            actual.neurons.table["cell_type"].isna().sum()
            == wanted.neurons.table["cell_type"].isna().sum()
        )


@pytest.mark.parametrize("form", ["netformer", "gain"])
def test_a_constant_beside_a_changing_part_comes_back_exactly(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    core = np.random.default_rng(5).normal(size=(5, 5)).astype(np.float32)  # with a diagonal
    on_core = replace(fit.connectivity, arrays=fit.connectivity.arrays | {"weight": core})
    path = export(replace(fit, connectivity=on_core), tmp_path / "out.nwb")
    with nwbdyn.open_results(path) as back:
        assert back.connectivity.form == form
        assert back.connectivity.attributes == on_core.attributes
        np.testing.assert_array_equal(back.connectivity.to_xarray(), on_core.to_xarray())
        changing = on_core.at(15.2) - core
        assert (np.diag(changing) == 0).all() is np.bool_(form == "netformer")
        sent, wanted = back.connectivity.contributions(), on_core.contributions()
        np.testing.assert_array_equal(sent.at(15.2), wanted.at(15.2))


@pytest.mark.parametrize("enrich", [False, True])
def test_everything_else_of_the_fit_comes_back(source, tmp_path, enrich):
    fit = lab_files.fit_of(source)
    with nwbdyn.open_results(export(fit, tmp_path / "out.nwb", enrich=enrich)) as back:
        for name in ("model", "config", "binning", "split", "seed", "device"):
            assert getattr(back, name) == getattr(fit, name), name
        assert back.source == disclosure.of_source(fit.source)
        assert (back.versions, back.environment) == (fit.versions, fit.environment)
        np.testing.assert_equal(back.metrics, fit.metrics)
        np.testing.assert_equal(back.history, fit.history)
        np.testing.assert_array_equal(back.predictions.values, fit.predictions.values)
        np.testing.assert_allclose(back.predictions.time, fit.predictions.time, atol=1e-9)
        np.testing.assert_array_equal(back.predictions.labels, fit.predictions.labels)
        assert back.predictions.to_xarray().dims == ("time", "neuron")
        pd.testing.assert_frame_equal(
            back.neurons.table, fit.neurons.table, check_like=True, check_dtype=False
        )
        assert back.neurons.table_object_id == fit.neurons.table_object_id
        columns = [*edge_table.COLUMNS, "pre_cell_type", "post_cell_type", "sign"]
        pd.testing.assert_frame_equal(back.edges[columns], fit.edges[columns], check_dtype=False)
        assert back.edges.attrs == {"num_pairs": 20, "kept_share": pytest.approx(1.0)}
        np.testing.assert_array_equal(back.embeddings, fit.embeddings)
        assert back.session["subject"]["species"] == "Mus musculus"
        assert back.session["identifier"] == "lab-0001"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("large", [0, 2**20])
def test_a_fit_from_a_file_can_be_exported_again(source, tmp_path, form, large, monkeypatch):
    monkeypatch.setattr(open_results, "LARGE", large)  # 0: every array stays in the file
    fit = lab_files.fit_of(source, form=form)
    with nwbdyn.open_results(export(fit, tmp_path / "one.nwb")) as back:
        export(back, tmp_path / "two.nwb")
    with nwbdyn.open_results(tmp_path / "two.nwb") as again:
        np.testing.assert_array_equal(again.connectivity.mean(), fit.connectivity.mean())


def test_one_of_several_runs_is_named(source, tmp_path):
    one, two = lab_files.fit_of(source), lab_files.fit_of(source, form="attention", seed=1)
    first = export(one, tmp_path / "first.nwb", enrich=True)
    both = export(two, tmp_path / "both.nwb", enrich=True, source_file=first)
    assert set(open_results.run_names(both)) == {name_of(one), name_of(two)}
    with nwbdyn.open_results(both, name_of(two)) as fit:
        assert fit.connectivity.form == "attention"
    with pytest.raises(
        ResultsError, match=r"holds several results; name one: netformer-.*, stndt-"
    ):
        nwbdyn.open_results(both)
    with pytest.raises(ResultsError, match="no results 'x'; it has: netformer-"):
        nwbdyn.open_results(both, "x")


def test_a_file_without_usable_results_says_so(source, tmp_path):
    with pytest.raises(ResultsError, match="holds no results of a model"):
        nwbdyn.open_results(source)
    with pytest.raises(ResultsError, match=r"No file .*nothing\.nwb\. `nwbdyn export RUN` writes"):
        nwbdyn.open_results(tmp_path / "nothing.nwb")
    (tmp_path / "text.nwb").write_text("not HDF5")
    with pytest.raises(ResultsError, match="Cannot open"):
        nwbdyn.open_results(tmp_path / "text.nwb")
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb")
    with h5py.File(path, "a") as file:
        del file[f"processing/population_dynamics/{name_of(fit)}_connectivity"]
    with pytest.raises(ResultsError, match="are incomplete"):
        nwbdyn.open_results(path)
    with h5py.File(path, "a") as file:  # and the failed attempt left the file closed
        assert file


# Native to the field


def test_the_mean_is_a_table_named_by_neuron(source):
    connectivity = lab_files.fit_of(source).connectivity
    frame = connectivity.to_pandas()
    assert (frame.index.name, frame.columns.name) == ("post", "pre")
    assert frame.loc[11, 13] == float(connectivity.mean().sel(post=11, pre=13))


def test_a_graph_points_from_pre_to_post(source):
    pytest.importorskip("networkx", reason="networkx is not installed")
    connectivity = lab_files.fit_of(source).connectivity
    graph = connectivity.to_networkx(10.0, k=6)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (5, 6)
    assert graph.nodes[10]["cell_type"] == "Pvalb"
    matrix = connectivity.at(10.0)
    for pre, post, weight in graph.edges(data="weight"):
        assert weight == pytest.approx(float(matrix.sel(pre=pre, post=post)))


def test_mne_gets_senders_as_rows_and_receivers_as_columns(source):
    mne = pytest.importorskip("mne_connectivity", reason="mne-connectivity is not installed")
    connectivity = lab_files.fit_of(source).connectivity
    matrix = connectivity.at(10.0)
    actual = connectivity.to_mne(10.0)
    assert isinstance(actual, mne.Connectivity)
    np.testing.assert_array_equal(actual.get_data("dense").squeeze(), matrix.to_numpy().T)
    assert list(actual.names) == ["10", "11", "12", "13", "14"]
    assert actual.method == "z per z"
    mean = connectivity.to_mne()
    np.testing.assert_array_equal(mean.get_data("dense").squeeze(), connectivity.mean().T)
    over_time = connectivity.to_mne(slice(5, 10))
    assert isinstance(over_time, mne.TemporalConnectivity)
    wanted = connectivity.to_xarray(slice(5, 10))
    np.testing.assert_array_equal(over_time.times, wanted.time)
    np.testing.assert_array_equal(
        over_time.get_data("dense"), wanted.transpose("pre", "post", "time")
    )


@pytest.mark.filterwarnings("ignore:Metadata name 'split' overlaps")  # pynapple has such a method
def test_trials_become_an_interval_set_with_what_is_known_of_each():
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    with nwbdyn.open("sample:reach?neurons=20&trials=24") as recording:
        trials = recording.trials_to_pynapple()
        assert isinstance(trials, nap.IntervalSet)
        np.testing.assert_allclose(trials.start, recording.trials["start_time"])
        np.testing.assert_allclose(trials.end, recording.trials["stop_time"])
        kept = set(trials.metadata.columns)
        assert kept
        assert kept <= set(recording.trials.columns) - {"start_time", "stop_time"}
        for name in kept:
            assert list(trials.metadata[name]) == list(recording.trials[name])
        with pytest.raises(ResultsError, match="has no interval table 'x'; it has: trials"):
            recording.trials_to_pynapple("x")
        data = nap.load_file(str(recording.source.path))
        np.testing.assert_array_equal(data["trials"].values, trials.values)
        data.close()


@pytest.mark.parametrize("enrich", [False, True])
def test_pynapple_loads_the_same_from_the_file(source, tmp_path, enrich):
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    fit = lab_files.fit_of(source, form="gain")
    path = export(fit, tmp_path / "out.nwb", enrich=enrich)
    data = nap.load_file(str(path))
    loaded = data[f"{name_of(fit)}_predictions"]
    assert isinstance(loaded, nap.TsdFrame)
    np.testing.assert_array_equal(np.asarray(loaded.values), fit.predictions.values)
    np.testing.assert_allclose(loaded.t, fit.predictions.to_pynapple().t)
    assert isinstance(data[f"{name_of(fit)}_edge_weights"], nap.TsdFrame)
    data.close()


def test_columns_in_pynapple_carry_the_names_of_neurons(source):
    pytest.importorskip("pynapple", reason="pynapple is not installed")
    fit = lab_files.fit_of(source)
    names = ["AVAL", "AVAR", "AVBL", "", "AVBR"]
    neurons = replace(fit.neurons, table=fit.neurons.table.assign(label=names))
    frame = replace(fit.predictions, neurons=neurons).to_pynapple()
    assert list(frame.columns) == ["AVAL (10)", "AVAR (11)", "AVBL (12)", "13", "AVBR (14)"]
    np.testing.assert_array_equal(frame["AVAR (11)"].values, fit.predictions.values[:, 1])


def test_names_of_neurons_come_back_from_the_file(source, tmp_path):
    pytest.importorskip("pynapple", reason="pynapple is not installed")
    fit = lab_files.fit_of(source)
    named = fit.neurons.table.assign(neuron_label=["AVAL", "AVAR", "AVBL", "", "roi 14"])
    neurons = replace(fit.neurons, table=named)
    predictions = replace(fit.predictions, neurons=neurons)
    connectivity = replace(fit.connectivity, neurons=neurons)
    fit = replace(
        fit, neurons=neurons, predictions=predictions, connectivity=connectivity,
        edges=connectivity.edges(),
    )  # fmt: skip
    with nwbdyn.open_results(export(fit, tmp_path / "out.nwb")) as back:
        names = ["AVAL (10)", "AVAR (11)", "AVBL (12)", "13", "roi 14 (14)"]
        assert back.neurons.names == fit.neurons.names == names
        assert list(back.predictions.to_pynapple().columns) == names
        assert back.edges["pre"].tolist() == fit.edges["pre"].tolist()
        export(back, tmp_path / "again.nwb")
    with nwbdyn.open_results(tmp_path / "again.nwb") as again:
        assert again.neurons.names == names


def test_pynapple_gets_the_clock_the_ids_and_what_is_known_of_each_neuron(source):
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed")
    fit = lab_files.fit_of(source)
    frame = fit.predictions.to_pynapple()
    assert isinstance(frame, nap.TsdFrame)
    np.testing.assert_allclose(frame.t, fit.predictions.time)
    assert list(frame.columns) == ["10", "11", "12", "13", "14"]
    assert list(frame.metadata["id"]) == [10, 11, 12, 13, 14]
    assert list(frame.metadata["quality"]) == list(fit.neurons.table["quality"])
    tensor = fit.connectivity.to_pynapple(slice(5, 10))
    assert isinstance(tensor, nap.TsdTensor)
    assert tensor.shape[1:] == (5, 5)


def test_a_package_that_is_not_there_is_named_with_the_way_to_get_it():
    with pytest.raises(ResultsError, match=r"no_such_package is not installed here. Run `pip"):
        optional.load("no_such_package")


def test_lazy_predictions_are_read_when_they_are_asked_for(source, tmp_path, monkeypatch):
    monkeypatch.setattr(open_results, "LARGE", 0)
    fit = lab_files.fit_of(source)
    with nwbdyn.open_results(export(fit, tmp_path / "out.nwb")) as back:
        assert isinstance(back.predictions.values, LazyArray)
        np.testing.assert_array_equal(back.predictions.values[10:12], fit.predictions.values[10:12])
    with pytest.raises(ResultsError, match="was closed before it was read"):
        back.predictions.values[0]
