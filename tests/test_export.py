"""Contents of an exported file, compared with the fit."""

from dataclasses import replace
from datetime import UTC, datetime

import h5py
import lab_files
import numpy as np
import pandas as pd
import pytest
from exported_files import FORMS, messages
from ndx_population_dynamics import RunNotesTable
from pynwb import NWBHDF5IO, NWBFile, validate

import nwbdyn
from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.nwb.results import couplings, courses, storage
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.workflows.export import export


def test_predictions_lie_on_the_recordings_clock_with_their_split(source, tmp_path):
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        predictions = module[f"{name_of(fit)}_predictions"]
        np.testing.assert_array_equal(predictions.data[:], fit.predictions.values)
        assert (predictions.starting_time, predictions.rate) == (1.0, 2.0)
        names = np.array(list(predictions.control_description), str)[predictions.control[:]]
        assert list(names[[0, 36, 40, 48, 52]]) == ["train", "gap", "val", "gap", "test"]
        assert list(predictions.neurons.table["source_id"][:]) == [10, 11, 12, 13, 14]
        assert (predictions.quantity, predictions.horizon, predictions.bin_width) == ("dff", 1, 0.5)


def test_an_irregular_clock_is_stored_as_time_stamps(source, tmp_path):
    fit = lab_files.fit_of(source)
    time = fit.predictions.time + np.random.default_rng(0).uniform(0, 0.1, lab_files.NUM_TIMES)
    fit = replace(fit, predictions=replace(fit.predictions, time=time))
    path = export(fit, tmp_path / "out.nwb")
    with h5py.File(path) as file:
        series = file[f"processing/population_dynamics/{name_of(fit)}_predictions"]
        np.testing.assert_array_equal(series["timestamps"][:], time)


def test_progress_of_a_large_array_is_reported_in_whole_chunks_and_it_arrives_whole(
    source, tmp_path
):
    fit = lab_files.fit_of(source)
    num_bins = 1_000_003  # 20 MB of five neurons, and no multiple of a chunk
    values = np.tile(np.arange(num_bins, dtype=np.float32)[:, None] % 251, (1, 5))
    long = replace(
        fit.predictions,
        values=values,
        time=np.arange(num_bins) * 0.5,
        labels=np.zeros(num_bins, np.int8),
    )
    fit, steps = replace(fit, predictions=long), []
    path = export(fit, tmp_path / "out.nwb", report=steps.append)
    written = [(step.done, step.total) for step in steps if step.stage == "writing"]
    block = 204 * 4096 * values[:1].nbytes  # the most whole chunks of 4,096 bins in 16 MiB
    assert block <= 16 * 2**20 < block + 4096 * values[:1].nbytes
    assert [done for done, _ in written] == [0, block, values.nbytes]
    assert {total for _, total in written} == {values.nbytes}
    assert [step.done for step in steps if step.stage == "evaluating"] == [0, 1, 2, 3]
    with h5py.File(path) as file:
        data = file[f"processing/population_dynamics/{name_of(fit)}_predictions/data"]
        assert (data.chunks, data.compression, data.shuffle) == ((4096, 5), "gzip", True)
        assert data.maxshape == data.shape
        np.testing.assert_array_equal(data[:], values)


@pytest.mark.parametrize("form", FORMS)
def test_edges_and_their_time_courses_agree_with_the_fit(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        edges = module[f"{name_of(fit)}_edges"]
        ids = {side: edges[f"{side}_id"][:] for side in ("pre", "post")}
        assert edges.neurons is module[f"{name_of(fit)}_neurons"]
        assert edges["pre"][0] == f"roi {ids['pre'][0]}"
        assert set(edges["kind"][:]) == {"directed"}
        mean = fit.connectivity.mean()
        for row in range(len(edges)):
            expected = float(mean.sel(pre=ids["pre"][row], post=ids["post"][row]))
            assert edges["weight"][row] == pytest.approx(expected, rel=1e-5)
        assert edges.kept_share == pytest.approx(1.0)
        assert "seed_sd" not in edges.colnames  # never computed, so not claimed
        name = f"{name_of(fit)}_edge_weights"
        if form == "static":
            assert name not in module.data_interfaces
            return
        series = module[name]
        expected = fit.connectivity.over_time(pre=ids["pre"], post=ids["post"])
        np.testing.assert_allclose(series.data[:], expected, rtol=1e-6)
        assert series.edges.table is edges
        assert series.starting_time == fit.connectivity.time[0]
        assert (series.window_start, series.window_stop) == fit.connectivity.window


def test_cell_type_means_are_stored_with_the_types_of_each_column(source, tmp_path):
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        series = io.read().processing["population_dynamics"][f"{name_of(fit)}_cell_types"]
        pairs = list(zip(series.post_type[:], series.pre_type[:], strict=True))
        assert pairs == [("Pvalb", "Pvalb"), ("Pvalb", "Sst"), ("Sst", "Pvalb"), ("Sst", "Sst")]
        assert list(series.num_edges[:]) == [2, 4, 4, 2]
        expected = fit.connectivity.by_cell_type().sel(post_type="Sst", pre_type="Pvalb")
        np.testing.assert_allclose(series.data[:, 2], expected, rtol=1e-6)


def test_pairs_of_cell_types_are_a_table_with_their_test(source, tmp_path):
    groups = pd.DataFrame(
        {
            "post": ["Pvalb", "Sst"],
            "pre": ["Sst", "Pvalb"],
            "num_post": [2, 2],
            "num_pre": [2, 2],
            "weight": [0.5, -0.25],
            "low_within_animal": [0.25, np.nan],
            "high_within_animal": [0.75, np.nan],
            "p_within_animal": [0.5, np.nan],
            "q_within_animal": [np.nan, np.nan],
        }
    )
    fit = replace(lab_files.fit_of(source), groups=groups)
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb"), "r") as io:
        table = io.read().processing["population_dynamics"][f"{name_of(fit)}_cell_type_pairs"]
        frame = table.to_dataframe()
        assert "within this animal" in table.description
    assert frame[["pre_type", "post_type", "kind"]].iloc[0].tolist() == ["Sst", "Pvalb", "directed"]
    assert frame[["weight", "low", "high", "p"]].iloc[0].tolist() == [0.5, 0.25, 0.75, 0.5]
    assert "q" not in frame  # never computed, so not claimed


def test_edges_of_both_kinds_with_lags_and_states_are_written_as_they_are(source, tmp_path):
    """The columns that a fit's edges may have, see the extension's ConnectivityEdgesTable."""
    fit = lab_files.fit_of(source)
    edges = fit.edges[:3].assign(
        kind=["directed", "simultaneous", "directed"],
        lag=[1, 0, 2],
        state=["", "", "running - rest"],
        se=[0.1, 0.2, 0.3],
        peak_ms=[2.5, np.nan, np.nan],
        model_weight=[0.75, np.nan, np.nan],
    )
    edges.attrs = {"num_pairs": 20, "kept_share": 0.5}
    path = export(replace(fit, edges=edges), tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        frame = module[f"{name_of(fit)}_edges"].to_dataframe()
    frame = frame.sort_values("lag")
    assert frame["kind"].tolist() == ["simultaneous", "directed", "directed"]
    assert frame["state"].tolist() == ["", "", "running - rest"]
    assert frame["pre_id"].tolist() == edges["pre_id"].iloc[[1, 0, 2]].tolist()
    assert frame["pre"].tolist() == [f"roi {one}" for one in frame["pre_id"]]
    with nwbdyn.open_results(path) as back:
        assert set(back.edges["kind"]) == {"directed", "simultaneous"}
        assert set(back.edges["lag"]) == {0, 1, 2}
        of_spikes = back.edges.set_index("lag")[["peak_ms", "model_weight"]]
        np.testing.assert_array_equal(of_spikes.loc[[1, 0, 2], "peak_ms"], [2.5, np.nan, np.nan])
        assert of_spikes.loc[1, "model_weight"] == 0.75


def test_half_as_many_pairs_within_a_bin_are_written_as_directed_edges(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(couplings, "EDGES_PER_NEURON", 2)
    fit = lab_files.fit_of(source)  # 5 neurons, 20 directed edges
    pairs = fit.edges.assign(kind="simultaneous", lag=0)
    weak = pairs.iloc[-1:].assign(weight=0.0, q=0.05)  # significant, so it is written
    fit = replace(fit, edges=edge_table.combined([fit.edges, pairs.iloc[:-1], weak]))
    path = export(fit, tmp_path / "out.nwb")
    with nwbdyn.open_results(path) as back:
        assert back.edges["kind"].value_counts().to_dict() == {"directed": 10, "simultaneous": 6}
        assert back.edges["q"].notna().sum() == 1
    assert couplings.most_edges(fit) == 26


def test_a_long_column_of_texts_is_compressed_and_reads_back(tmp_path):
    texts = np.array([f"neuron {number}" for number in range(1500)], dtype=object)
    columns = dict.fromkeys(("code", "location", "reason"), texts)
    table = storage.table(RunNotesTable, columns, name="notes", description="Notes.")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    nwbfile = NWBFile(session_description="s", identifier="i", session_start_time=moment)
    nwbfile.add_scratch(table)
    with NWBHDF5IO(tmp_path / "out.nwb", "w") as io:
        io.write(nwbfile)
    with h5py.File(tmp_path / "out.nwb") as file:
        column = file["scratch/notes/reason"]
        assert column.compression == "gzip"
        assert column.id.get_storage_size() < 16 * 1500 / 3  # 16 bytes find a text
        assert column.asstr()[()].tolist() == texts.tolist()
    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        frame = io.read().scratch["notes"].to_dataframe()
    assert frame["reason"].tolist() == texts.tolist()
    assert frame.index.tolist() == list(range(1500))


@pytest.mark.parametrize("form", FORMS)
def test_the_exact_matrix_at_any_time_follows_from_the_stored_factors(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    path = export(fit, tmp_path / "out.nwb")
    with h5py.File(path) as file:
        whole = file[f"processing/population_dynamics/{name_of(fit)}_connectivity"]
        group, window = whole[form], 17
        if form == "netformer":
            last, context = group["last_bin"][window], int(group.attrs["context"])
            history = group["activity"][last - context + 1 : last + 1].T
            z = np.concatenate([history, group["embedding"][:]], axis=1).astype(float)
            z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
            z = z * group["norm_gain"][:] + group["norm_bias"][:]
            matrix = group.attrs["scale"] * (z @ group["query"][:].T) @ (z @ group["key"][:].T).T
        elif form == "gain":
            matrix = group["gain"][window][:, None] * group["weight"][:]
        elif form == "attention":
            matrix = group["maps"][window, 0]
        elif form == "static":
            matrix = group["weight"][:].sum(axis=0)
        else:
            matrix = group["weight"][window]
        time = whole["timestamps"][window]
        np.testing.assert_allclose(
            whole["mean"][:][~np.eye(len(matrix), dtype=bool)],
            fit.connectivity.mean().to_numpy()[~np.eye(len(matrix), dtype=bool)],
            rtol=1e-5,
        )
    np.testing.assert_allclose(matrix, fit.connectivity.at(time), rtol=1e-4, atol=1e-5)


def test_attributes_without_a_field_of_their_own_are_details_of_the_run(source, tmp_path):
    path = export(lab_files.fit_of(source), tmp_path / "out.nwb")
    with nwbdyn.open_results(path) as back:
        assert back.connectivity.attributes["necessity"] == 0.25


@pytest.mark.parametrize("form", ["netformer", "gain", "attention"])
def test_contributions_at_any_time_follow_from_the_stored_factors(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    sent = fit.connectivity.contributions()
    path, row = export(fit, tmp_path / "out.nwb"), 17
    with h5py.File(path) as file:
        group = file[f"processing/population_dynamics/{name_of(fit)}_connectivity/{form}"]
        if form == "netformer":
            last, context = group["last_bin"][row], int(group.attrs["context"])
            history = group["activity"][last - context + 1 : last + 1].T
            z = np.concatenate([history, group["embedding"][:]], axis=1).astype(float)
            z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
            coupling = fit.connectivity.at(sent.time[row]).to_numpy()
            matrix = coupling * z[:, context - 1]  # the norm's gain is 1 and its bias 0 here
        elif form == "gain":
            matrix = group["weight"][:] * group["activity"][group["last_bin"][row]]
        else:
            matrix = group["maps"][group["window_of_bin"][row, 0], 0] * group["stream"][row]
    np.testing.assert_allclose(matrix, sent.at(sent.time[row]), rtol=1e-3, atol=1e-5)
    with nwbdyn.open_results(path) as again:
        reopened = again.connectivity.contributions()
        assert (reopened.measure, reopened.window) == (sent.measure, sent.window)
        np.testing.assert_allclose(reopened.mean(), sent.mean(), rtol=1e-5, atol=1e-6)


def test_input_currents_follow_from_the_stored_component(source, tmp_path):
    fit = lab_files.fit_of(source, form="gain")
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        gain = module[f"{name_of(fit)}_connectivity"].connectivity_components["gain"]
        currents = gain.activity[:] @ gain.weight[:].T
        currents[~gain.is_observed[:].astype(bool)] = np.nan
        np.testing.assert_allclose(currents, fit.currents, rtol=1e-6)
    with nwbdyn.open_results(path) as back:
        np.testing.assert_allclose(back.currents, fit.currents, rtol=1e-6)
    fit.save(tmp_path / "run")
    np.testing.assert_array_equal(nwbdyn.load(tmp_path / "run").currents, fit.currents)
    assert lab_files.fit_of(source).currents is None  # NetFormer has no adjacency


def test_the_record_repeats_what_was_asked_and_what_came_out(source, tmp_path):
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        run = nwbfile.processing["population_dynamics"][name_of(fit)]
        options = run.details.to_dataframe().set_index(["section", "key"])["value"]
        assert options["config", "history"] == str(fit.config["history"])
        assert options["binning", "series_path"] == fit.binning["series_path"]
        assert options["history", "0.loss"] == "0.5"  # one epoch makes no table
        assert run.description == (
            "netformer fitted to 5 rois of lab (dff, bins of 0.5 s). r2@1 on test: 0.500."
        )
        assert (run.quantity, run.bin_width, run.num_bins) == ("dff", 0.5, 60)
        assert (run.seed, run.device, run.fit_time) == (0, "cpu", "2025-01-01T00:00:00+00:00")
        where = run.run_sources["source"]
        assert (where.uri, where.digest) == (source.name, fit.source.digest)
        assert where.neurons_object_id == fit.neurons.table_object_id
        scores = run.metrics.to_dataframe()
        assert scores.method.tolist() == ["netformer", "netformer", "persistence"]
        assert scores.value.tolist()[::2] == [0.5, 0.25]
        assert (scores.low[0], scores.high[0]) == (0.4, 0.6)
        splits = run.splits.to_dataframe()
        assert splits.label.tolist() == ["train", "gap", "val", "gap", "test"]
        assert splits.start_time.tolist() == [0.75, 18.75, 20.75, 24.75, 26.75]
        assert splits.stop_time.tolist() == [18.75, 20.75, 24.75, 26.75, 30.75]
        assert nwbfile.was_generated_by[0][0] == "nwbdyn"
        assert (nwbfile.session_id, nwbfile.subject.age) == ("s1", "P90D")


def test_names_differ_between_fits_and_are_the_same_for_the_same_fit(source):
    one, again, other = (lab_files.fit_of(source, seed=seed) for seed in (0, 0, 1))
    assert name_of(one) == name_of(again) != name_of(other)
    assert len(name_of(one)) == len("netformer-") + 8


def test_the_edge_table_and_its_time_courses_are_bounded_and_say_what_they_keep(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(couplings, "EDGES_PER_NEURON", 2)
    monkeypatch.setattr(courses, "MOST_COURSES", 3)
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb")
    weights = fit.edges.weight.abs()
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        edges, series = module[f"{name_of(fit)}_edges"], module[f"{name_of(fit)}_edge_weights"]
        assert (len(edges), edges.num_possible) == (10, 20)
        assert edges.kept_share == pytest.approx(weights[:10].sum() / weights.sum(), rel=1e-5)
        assert series.data.shape == (57, 3)
        assert series.kept_share == pytest.approx(weights[:3].sum() / weights.sum(), rel=1e-5)
        details = module[name_of(fit)].details["value"][:]
        assert any("3 strongest of 10 edges" in value for value in details)


def test_a_series_of_influence_says_the_share_of_the_influence_that_it_keeps(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(courses, "MOST_COURSES", 3)
    fit = lab_files.fit_of(source, form="gain")
    mean = fit.influence.mean()
    strongest = fit.edges[:3]  # by weight
    kept = sum(
        abs(float(mean.sel(post=edge.post_id, pre=edge.pre_id))) for edge in strongest.itertuples()
    )
    whole = abs(mean.to_numpy()[~np.eye(5, dtype=bool)]).sum()
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb"), "r") as io:
        module = io.read().processing["population_dynamics"]
        assert module[f"{name_of(fit)}_influence_weights"].kept_share == pytest.approx(
            kept / whole, rel=1e-5
        )


def test_time_courses_average_as_many_windows_as_their_bytes_demand(source, tmp_path, monkeypatch):
    monkeypatch.setattr(courses, "LEAST_COURSE_BYTES", 2 * 20 * 20)  # 20 samples of 20 edges
    monkeypatch.setattr(courses, "COURSE_SHARE", 0)
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        series, edges = module[f"{name_of(fit)}_edge_weights"], fit.edges[:19]
        assert (series.num_averaged, series.data.shape) == (3, (19, 19))  # 57 windows by threes
        exact = fit.connectivity.over_time(pre=edges["pre_id"], post=edges["post_id"]).to_numpy()
        np.testing.assert_allclose(series.data[:], exact.reshape(19, 3, 19).mean(1), atol=1e-6)
        assert series.starting_time == fit.connectivity.time[1]
        start, stop = fit.connectivity.window
        assert (series.window_start, series.window_stop) == (start - 0.5, stop + 0.5)
        assert "means over 3 windows" in series.description


def test_every_matrix_is_written_too_when_asked_for_and_small_enough(source, tmp_path, monkeypatch):
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb", dense=True)
    with NWBHDF5IO(path, "r") as io:
        movie = io.read().processing["population_dynamics"][f"{name_of(fit)}_movie"]
        np.testing.assert_allclose(movie.data[:], fit.connectivity.to_xarray(), rtol=1e-5)
        assert movie.starting_time == fit.connectivity.time[0]
    assert not messages(path)
    num_windows = 12_000_000
    long = replace(fit.connectivity, time=np.arange(num_windows, dtype=np.float32))
    with pytest.raises(ResultsError, match=r"12,000,000 matrices of 5 x 5 take 1\.2 GB"):
        export(replace(fit, connectivity=long), tmp_path / "big.nwb", dense=True)


@pytest.mark.parametrize("form", ["netformer", "gain", "dense"])
def test_half_precision_halves_what_grows_with_time_and_stays_valid(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    path = export(fit, tmp_path / "out.nwb", precision="float16")
    assert not validate(path=str(path))
    with nwbdyn.open_results(path) as back:
        name = {"netformer": "activity", "gain": "g", "dense": "weights"}[form]
        assert back.connectivity.arrays[name].dtype == np.float16
        # float16 keeps 11 bits; an entry sums some ten products of order one
        actual, wanted = (f.connectivity.at(15.0) for f in (back, fit))
        np.testing.assert_allclose(actual, wanted, atol=2e-2)
    with pytest.raises(ConfigError, match="No precision 'int8'"):
        export(fit, tmp_path / "out2.nwb", precision="int8")


def test_a_network_without_an_edge_table_keeps_its_connectivity_and_cell_types(source, tmp_path):
    fit = lab_files.fit_of(source)
    path = export(replace(fit, edges=fit.edges[:0]), tmp_path / "out.nwb")
    with nwbdyn.open_results(path) as back:
        assert back.edges.empty
        np.testing.assert_allclose(back.connectivity.mean(), fit.connectivity.mean(), rtol=1e-6)
    with NWBHDF5IO(path, "r") as io:
        names = io.read().processing["population_dynamics"].data_interfaces
        assert {name.partition("_")[2] for name in names} == {
            "", "neurons", "predictions", "cell_types", "connectivity",
        }  # fmt: skip


def test_a_run_directory_is_exported_as_the_fit_that_it_holds(source, tmp_path):
    fit = lab_files.fit_of(source)
    fit.edges.attrs = {"num_pairs": 20, "kept_share": 0.5}  # as if they were a part of all
    fit.save(tmp_path / "run")
    path = export(tmp_path / "run")
    assert path.parent == tmp_path / "run"
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        assert module[f"{name_of(fit)}_edges"].kept_share == 0.5
    with pytest.raises(ResultsError):
        export(tmp_path / "no-run")


def test_repeated_neuron_ids_are_refused(source, tmp_path):
    fit = lab_files.fit_of(source)
    table = pd.DataFrame({"id": [10, 10, 12, 13, 14]})
    with pytest.raises(ResultsError, match="Several neurons have the id 10"):
        export(replace(fit, neurons=replace(fit.neurons, table=table)), tmp_path / "out.nwb")
