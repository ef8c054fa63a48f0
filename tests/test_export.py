"""An exported file holds the fit, is valid, opens anywhere, and never costs the source a byte."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import numpy as np
import pandas as pd
import pytest
from pynwb import NWBHDF5IO, validate
from standin import StandIn

import nwbdyn
from nwbdyn import archive
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.nwb import couplings, slim_record
from nwbdyn.nwb.heat_map import draw
from nwbdyn.nwb.model_run import name_of
from nwbdyn.nwb.write import export

DANDI = "from dandi.cli.command import main; main()"
FORMS = ("netformer", "gain", "attention", "static", "dense")
SITE = Path(np.__file__).parents[1]  # where the environment's packages lie


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return lab_files.write_imaging(tmp_path / "lab.nwb")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    return lab_files.write_units(tmp_path / "units.nwb")


def contents(path: Path, fit) -> dict:
    """Every object of a fit in an exported file, by what its name adds to the fit's."""
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        return {
            name.removeprefix(name_of(fit)): item for name, item in module.data_interfaces.items()
        }


def messages(path: Path, *, suggestions: bool = False) -> set[tuple[str, str, str]]:
    """What nwbinspector says of a file under the archive's configuration."""
    from nwbinspector import Importance, inspect_nwbfile, load_config

    threshold = (
        Importance.BEST_PRACTICE_SUGGESTION if suggestions else Importance.BEST_PRACTICE_VIOLATION
    )
    return {
        (message.importance.name, message.check_function_name, message.message)
        for message in inspect_nwbfile(
            nwbfile_path=str(path),
            config=load_config("dandi"),
            importance_threshold=threshold,
            skip_validate=False,
        )
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# What is inside


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


def test_a_large_array_is_told_while_it_is_written_and_arrives_whole(source, tmp_path):
    fit = lab_files.fit_of(source)
    num_bins = 1_000_003  # 20 MB of five neurons, and no multiple of a chunk
    values = np.tile(np.arange(num_bins, dtype=np.float32)[:, None] % 251, (1, 5))
    long = replace(
        fit.predictions,
        values=values,
        time=np.arange(num_bins) * 0.5,
        labels=np.zeros(num_bins, np.int8),
    )
    fit, told = replace(fit, predictions=long), []
    path = export(fit, tmp_path / "out.nwb", report=told.append)
    written = [(step.done, step.total) for step in told if step.stage == "writing"]
    assert [done for done, _ in written] == [0, 16_773_120, values.nbytes]
    assert {total for _, total in written} == {values.nbytes}
    steps = [step.done for step in told if step.stage == "evaluating"]
    assert steps == [0, 1, 2, 3]
    with h5py.File(path) as file:
        data = file[f"processing/population_dynamics/{name_of(fit)}_predictions/data"]
        assert (data.chunks, data.compression, data.shuffle) == ((512, 5), "gzip", True)
        assert data.maxshape == data.shape
        np.testing.assert_array_equal(data[:], values)


@pytest.mark.parametrize("form", FORMS)
def test_edges_and_their_time_courses_agree_with_the_fit(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        edges = module[f"{name_of(fit)}_edges"]
        ids = {
            side: edges[side].table["source_id"][:][edges[side].data[:]] for side in ("pre", "post")
        }
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


@pytest.mark.parametrize("form", FORMS)
def test_the_exact_matrix_at_any_time_follows_from_the_stored_factors(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    path = export(fit, tmp_path / "out.nwb")
    with h5py.File(path) as file:
        group = file[f"processing/population_dynamics/{name_of(fit)}_factors"]
        window = 17
        if form == "netformer":
            last, context = group["last"][window], int(group.attrs["context"])
            history = group["activity"][last - context + 1 : last + 1].T
            z = np.concatenate([history, group["embedding"][:]], axis=1).astype(float)
            z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
            z = z * group["norm_gain"][:] + group["norm_bias"][:]
            matrix = group.attrs["scale"] * (z @ group["query"][:].T) @ (z @ group["key"][:].T).T
        elif form == "gain":
            matrix = group["g"][window][:, None] * group["A"][:]
        elif form == "attention":
            matrix = group["maps"][window, 0]
        elif form == "static":
            matrix = group["weight"][:]
        else:
            matrix = group["weights"][window]
        time = group["timestamps"][window]
        details = json.loads(group["details"].asstr()[()])
    np.testing.assert_allclose(matrix, fit.connectivity.at(time), rtol=1e-4, atol=1e-5)
    known = {
        "netformer": {"necessity": 0.25, "raw_values": False},
        "attention": {"bin_width": lab_files.BIN},
    }
    assert details == known.get(form, {})


@pytest.mark.parametrize("form", ["netformer", "gain", "attention"])
def test_contributions_at_any_time_follow_from_the_stored_factors(source, tmp_path, form):
    fit = lab_files.fit_of(source, form=form)
    sent = fit.connectivity.contributions()
    path, row = export(fit, tmp_path / "out.nwb"), 17
    with h5py.File(path) as file:
        group = file[f"processing/population_dynamics/{name_of(fit)}_factors"]
        if form == "netformer":
            last, context = group["last"][row], int(group.attrs["context"])
            history = group["activity"][last - context + 1 : last + 1].T
            z = np.concatenate([history, group["embedding"][:]], axis=1).astype(float)
            z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
            coupling = fit.connectivity.at(sent.time[row]).to_numpy()
            matrix = coupling * z[:, context - 1]  # the norm's gain is 1 and its bias 0 here
        elif form == "gain":
            matrix = group["A"][:] * group["activity"][group["last"][row]]
        else:
            matrix = group["maps"][group["owner"][row, 0], 0] * group["y"][row]
    np.testing.assert_allclose(matrix, sent.at(sent.time[row]), rtol=1e-3, atol=1e-5)
    with nwbdyn.open_results(path) as again:
        reopened = again.connectivity.contributions()
        assert (reopened.measure, reopened.window) == (sent.measure, sent.window)
        np.testing.assert_allclose(reopened.mean(), sent.mean(), rtol=1e-5, atol=1e-6)


def test_input_currents_lie_on_the_same_clock_and_say_what_they_are(source, tmp_path):
    fit = lab_files.fit_of(source, form="gain")
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        series = io.read().processing["population_dynamics"][f"{name_of(fit)}_currents"]
        np.testing.assert_array_equal(series.data[:], fit.currents)
        assert (series.starting_time, series.rate) == (1.0, 2.0)
        assert "I(t) = A x(t)" in series.description
    with nwbdyn.open_results(path) as back:
        np.testing.assert_array_equal(back.currents, fit.currents)
    fit.save(tmp_path / "run")
    np.testing.assert_array_equal(nwbdyn.load(tmp_path / "run").currents, fit.currents)
    assert lab_files.fit_of(source).currents is None  # NetFormer has no adjacency


def test_the_record_repeats_what_was_asked_and_what_came_out(source, tmp_path):
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        run = nwbfile.processing["population_dynamics"][name_of(fit)]
        assert json.loads(run.config) == fit.config
        assert json.loads(run.binning) == fit.binning
        assert json.loads(run.history) == [{"epoch": 1, "loss": 0.5, "validation": None}]
        assert (run.seed, run.device, run.fit_time) == (0, "cpu", "2025-01-01T00:00:00+00:00")
        where = run.run_sources["source"]
        assert (where.uri, where.digest) == (str(source), fit.source.digest)
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
    monkeypatch.setattr(couplings, "SERIES_BYTES", 4 * 57 * 3)
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
        assert "3 strongest of 10 edges" in module[name_of(fit)].notes


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
        found, wanted = (f.connectivity.at(15.0) for f in (back, fit))
        np.testing.assert_allclose(found, wanted, atol=2e-2)
    with pytest.raises(ConfigError, match="No precision 'int8'"):
        export(fit, tmp_path / "out2.nwb", precision="int8")


def test_a_network_without_an_edge_table_keeps_its_factors_and_cell_types(source, tmp_path):
    fit = lab_files.fit_of(source)
    path = export(replace(fit, edges=fit.edges[:0]), tmp_path / "out.nwb")
    with nwbdyn.open_results(path) as back:
        assert back.edges.empty
        np.testing.assert_allclose(back.connectivity.mean(), fit.connectivity.mean(), rtol=1e-6)
    with NWBHDF5IO(path, "r") as io:
        names = io.read().processing["population_dynamics"].data_interfaces
        assert {name.partition("_")[2] for name in names} == {
            "", "neurons", "predictions", "cell_types", "factors",
        }  # fmt: skip


# The picture


def test_the_heat_map_is_red_above_zero_blue_below_and_grey_on_the_diagonal():
    matrix = np.array([[9.0, 1.0, 0.0], [-1.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    pixels, limit = draw(matrix)
    side = len(pixels) // 3
    colour = {(i, j): pixels[i * side, j * side].astype(int) for i in range(3) for j in range(3)}
    assert 0.9 < limit <= 1
    assert colour[0, 1][0] > 3 * colour[0, 1][2]  # red
    assert colour[1, 0][2] > 3 * colour[1, 0][0]  # blue
    assert np.ptp(colour[0, 0]) == 0
    assert min(colour[0, 2]) > 240


def test_the_heat_map_sorts_neurons_by_cell_type(source, tmp_path):
    fit = lab_files.fit_of(source)
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb"), "r") as io:
        image = io.read().processing["population_dynamics"][f"{name_of(fit)}_figures"]["coupling"]
        pixels, _ = draw(
            fit.connectivity.mean().to_numpy()[np.ix_([0, 2, 1, 4, 3], [0, 2, 1, 4, 3])]
        )
        np.testing.assert_array_equal(image.data[:], pixels)
        assert "Rows receive, columns send; both sorted by cell type" in image.description


def test_the_picture_of_a_large_network_averages_some_windows_and_says_so(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(couplings, "PICTURE_WINDOWS", 3)
    fit = lab_files.fit_of(source)
    fit.edges.attrs = {"num_pairs": 20, "kept_share": 0.5}
    fit = replace(fit, edges=fit.edges[:10])
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb"), "r") as io:
        image = io.read().processing["population_dynamics"][f"{name_of(fit)}_figures"]["coupling"]
        assert "over 3 evenly spaced windows" in image.description


def test_a_large_matrix_is_averaged_in_blocks():
    matrix = np.zeros((2500, 2500))
    matrix[:1250] = 1
    pixels, _ = draw(matrix)
    assert pixels.shape == (1000, 1000, 3)
    assert pixels[100, 900, 0] > 3 * pixels[100, 900, 2].astype(int)
    assert pixels[900, 100].min() > 240


# Valid, and open to anybody


@pytest.mark.parametrize("write", [lab_files.write_imaging, lab_files.write_units])
def test_a_stand_alone_file_from_a_complete_subject_passes_the_archives_checks(write, tmp_path):
    source = write(tmp_path / "lab.nwb")
    folder = tmp_path / "000000"
    (folder / "sub-m1").mkdir(parents=True)
    (folder / "dandiset.yaml").write_text("identifier: DANDI:000000\n")
    fit = lab_files.fit_of(source)
    name = export(fit, folder / "sub-m1" / "x.nwb").name
    modality = "ecephys" if write is lab_files.write_units else "ophys"
    path = folder / "sub-m1" / f"sub-m1_ses-s1_desc-netformer_{modality}.nwb"
    (folder / "sub-m1" / name).rename(path)
    assert not messages(path)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            DANDI,
            "validate",
            "--min-severity",
            "ERROR",
            str(path),
        ],
        capture_output=True,
        text=True,
        env={"DANDI_NO_ET": "1", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("write", [lab_files.write_imaging, lab_files.write_units])
def test_an_enriched_copy_adds_no_problem_that_the_source_lacks(write, tmp_path):
    source = write(tmp_path / "lab.nwb")
    path = export(lab_files.fit_of(source), tmp_path / "enriched.nwb", enrich=True)
    added = messages(path, suggestions=True) - messages(source, suggestions=True)
    assert {check for _, check, _ in added} == {"check_processing_module_name"}  # a suggestion


@pytest.mark.parametrize("enrich", [False, True])
def test_files_open_with_their_types_where_neither_package_is_installed(source, tmp_path, enrich):
    path = export(lab_files.fit_of(source), tmp_path / "out.nwb", enrich=enrich)
    program = f"""
import sys
sys.path = [entry for entry in sys.path if entry] + [{str(SITE)!r}]
class NotInstalled:  # an installed package would lie in the same folder as pynwb
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("nwbdyn", "ndx_population_dynamics"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
import warnings; warnings.simplefilter("error")
from pynwb import NWBHDF5IO
with NWBHDF5IO({str(path)!r}, "r") as io:
    module = io.read().processing["population_dynamics"]
    for item in module.data_interfaces.values():
        print(item.name.partition("_")[2], type(item).__name__)
    edges = next(item for item in module.data_interfaces.values() if item.name.endswith("_edges"))
    print(edges["pre"][0]["source_id"].item(), edges.run.model)
"""
    # -S leaves out the environment's own start-up files, which could import either package.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert set(lines[:-1]) == {
        " ModelRun",
        "neurons NeuronTable",
        "predictions PredictedActivity",
        "edges ConnectivityEdges",
        "edge_weights EdgeWeightSeries",
        "cell_types CellTypeConnectivitySeries",
        "factors ConnectivityFactors",
        "figures Images",
    }
    assert lines[-1].split()[1] == "netformer"


# The source


def test_enriching_leaves_the_source_and_its_object_ids_as_they_were(source, tmp_path):
    before = sha256(source)
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "enriched.nwb", enrich=True)
    assert sha256(source) == before
    with NWBHDF5IO(source, "r") as old, NWBHDF5IO(path, "r") as new:
        kept = set(old.read().objects)
        nwbfile = new.read()
        assert kept <= set(nwbfile.objects)
        module = nwbfile.processing["population_dynamics"]
        rois = nwbfile.processing["ophys"]["ImageSegmentation"]["rois"]
        neurons = module[f"{name_of(fit)}_neurons"]
        assert neurons["source_row"].table is rois
        assert list(neurons["source_row"].data[:]) == [0, 1, 2, 3, 4]
        predictions = module[f"{name_of(fit)}_predictions"]
        assert predictions.source_series is nwbfile.processing["ophys"]["DfOverF"]["dff"]


def test_a_copy_of_an_older_file_keeps_its_version_and_its_types(units, tmp_path):
    with h5py.File(units, "a") as file:  # as NWB 2.4 wrote it
        file.attrs["nwb_version"] = "2.4.0"
        electrodes = file["general/extracellular_ephys/electrodes"]
        assert electrodes.attrs["neurodata_type"] == "ElectrodesTable"
        electrodes.attrs.update(namespace="hdmf-common", neurodata_type="DynamicTable")
    path = export(lab_files.fit_of(units), tmp_path / "out.nwb", enrich=True)
    with h5py.File(units) as before, h5py.File(path) as after:
        added = set(differences(before, after))
    added.discard("/specifications/ndx-population-dynamics")
    assert added == {"/processing/population_dynamics"}
    with NWBHDF5IO(path, "r") as io:
        assert len(io.read().processing["population_dynamics"].data_interfaces) == 7


def differences(before: h5py.Group, after: h5py.Group) -> Iterator[str]:
    """Paths of what the second has beside or unlike the first, attributes and values included."""
    for name, value in before.attrs.items():
        if isinstance(value, h5py.Reference):
            same = before.file[value].name == after.file[after.attrs[name]].name
        else:
            same = np.array_equal(value, after.attrs[name])
        if not same:
            yield f"{before.name}@{name}"
    if isinstance(before, h5py.Dataset):
        if before.dtype.kind != "O" and before[()].tobytes() != after[()].tobytes():
            yield before.name
        return
    yield from (f"{after.name.rstrip('/')}/{name}" for name in set(after) - set(before))
    for name in before:
        if isinstance(before.get(name, getlink=True), h5py.HardLink):
            yield from differences(before[name], after[name])


def test_a_second_model_goes_beside_the_first(source, tmp_path):
    one, two = lab_files.fit_of(source), lab_files.fit_of(source, form="attention", seed=1)
    first = export(one, tmp_path / "first.nwb", enrich=True)
    both = export(two, tmp_path / "both.nwb", enrich=True, source_file=first)
    assert not validate(path=str(both))
    with NWBHDF5IO(first, "r") as old, NWBHDF5IO(both, "r") as new:
        earlier = old.read().processing["population_dynamics"]
        module = new.read().processing["population_dynamics"]
        for name, item in earlier.data_interfaces.items():
            assert module[name].object_id == item.object_id
        assert {
            item.name
            for item in module.data_interfaces.values()
            if type(item).__name__ == "ModelRun"
        } == {name_of(one), name_of(two)}
    with pytest.raises(ResultsError, match=r"holds the results of netformer-.* already"):
        export(one, tmp_path / "again.nwb", enrich=True, source_file=first)
    assert not list(tmp_path.glob("again*"))


@pytest.mark.parametrize("enrich", [False, True])
def test_the_source_is_never_the_output(source, tmp_path, enrich):
    before = sha256(source)
    link = tmp_path / "link.nwb"
    link.symlink_to(source)
    for path in (source, link, tmp_path / "sub" / ".." / "lab.nwb"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(ResultsError, match="is the source, which is never written to"):
            export(lab_files.fit_of(source), path, enrich=enrich, overwrite=True)
    assert sha256(source) == before


def test_a_file_that_changed_since_the_fit_is_not_enriched(source, tmp_path):
    fit = lab_files.fit_of(source)
    with h5py.File(source, "a") as file:
        file["general/lab"] = "another"
    with pytest.raises(ResultsError, match="has changed since the fit: expected sha256:"):
        export(fit, tmp_path / "out.nwb", enrich=True)
    fit = replace(fit, source=replace(fit.source, digest=None))
    with h5py.File(source, "a") as file:
        file["processing/ophys/ImageSegmentation/rois/id"][2] = 99
    with pytest.raises(ResultsError, match="has no row with id 12: the table changed"):
        export(fit, tmp_path / "out.nwb", enrich=True)
    assert [item.name for item in tmp_path.iterdir()] == ["lab.nwb"]


@pytest.mark.parametrize("full", [False, True])
def test_a_remote_source_is_fetched_and_enriched(source, tmp_path, full, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    (tmp_path / "archive/000001/sub-m1").mkdir(parents=True)
    asset = tmp_path / "archive/000001/sub-m1/sub-m1_ses-s1.nwb"
    shutil.copy(source, asset)
    fit = lab_files.fit_of(source)
    with StandIn(tmp_path / "archive") as server:
        (remote,) = archive.resolve("dandi:000001", instance=server.api)
        fit = replace(fit, source=remote)
        path = export(fit, tmp_path / "out" / "x.nwb", enrich=True, full=full)
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        run = nwbfile.processing["population_dynamics"][name_of(fit)]
        where = run.run_sources["source"]
        assert (where.dandiset_id, where.asset_id) == ("000001", remote.asset_id)
        assert where.digest.startswith("dandi-etag:")
        assert "ophys" in nwbfile.processing
    assert [item.name for item in path.parent.iterdir()] == ["x.nwb"]


def test_a_slim_copy_stands_for_its_source(source, tmp_path):
    fit = lab_files.fit_of(source)
    copy = tmp_path / "slim.nwb"
    shutil.copy(source, copy)
    record = slim_record.SlimRecord(fit.source, fit.source.digest, (), "nwbdyn")
    with h5py.File(copy, "a") as file:
        slim_record.write(file, record)
    assert export(fit, tmp_path / "out.nwb", enrich=True, source_file=copy).exists()


def test_a_file_that_pynwb_refuses_cannot_be_enriched_but_stands_alone(source, tmp_path):
    with h5py.File(source, "a") as file:
        del file["session_start_time"]
    fit = lab_files_fit_without_reading(source, tmp_path)
    with pytest.raises(ResultsError, match=r"pynwb cannot open lab to add to it.*without --enrich"):
        export(fit, tmp_path / "out.nwb", enrich=True)
    assert not (tmp_path / "out.nwb").exists()
    assert not list(tmp_path.glob("*.partial"))
    assert export(fit, tmp_path / "out.nwb").exists()


def lab_files_fit_without_reading(source: Path, tmp_path: Path):
    whole = lab_files.write_imaging(tmp_path / "whole.nwb")
    fit = lab_files.fit_of(whole)
    whole.unlink()
    broken = replace(fit.source, uri=str(source), url=source.as_uri(), digest=None)
    return replace(fit, source=broken)


# Names, refusals, leftovers


def test_the_name_follows_the_archives_rule(source, units, tmp_path):
    fit = replace(lab_files.fit_of(source), run=tmp_path)
    assert export(fit) == tmp_path / "sub-m1_ses-s1_desc-netformer_ophys.nwb"
    assert export(fit, enrich=True).name == "sub-m1_ses-s1_desc-netformer-enriched_ophys.nwb"
    session = {**fit.session, "session_id": "2024/03_01", "subject": {"subject_id": "mouse 7"}}
    odd = replace(lab_files.fit_of(units), run=tmp_path, session=session)
    assert export(odd).name == "sub-mouse-7_ses-2024-03-01_desc-netformer_ecephys.nwb"
    nobody = replace(odd, session={**session, "subject": {}})
    assert export(nobody).name == "units_desc-netformer.nwb"


def test_missing_subject_fields_are_named_and_filled_only_by_a_person(tmp_path, caplog):
    source = lab_files.write_imaging(tmp_path / "lab.nwb", {"subject_id": "m1", "sex": "F"})
    fit = lab_files.fit_of(source)
    with NWBHDF5IO(export(fit, tmp_path / "a.nwb"), "r") as io:
        subject = io.read().subject
        assert (subject.sex, subject.species, subject.age) == ("F", None, None)
    assert "has no species, age" in caplog.text
    caplog.clear()
    given = {"species": "Mus musculus", "age": "P90D"}
    path = export(fit, tmp_path / "b.nwb", subject=given)
    assert not caplog.text
    assert not messages(path)
    with NWBHDF5IO(path, "r") as io:
        run = io.read().processing["population_dynamics"][name_of(fit)]
        assert "Given at export." in run.notes
    with pytest.raises(ConfigError, match="The source says sex is 'F', not 'M'"):
        export(fit, tmp_path / "c.nwb", subject={"sex": "M"})
    with pytest.raises(ConfigError, match="Subject has no field 'colour'"):
        export(fit, tmp_path / "c.nwb", subject={"colour": "grey"})
    with pytest.raises(ResultsError, match="keeps the source's Subject"):
        export(fit, tmp_path / "c.nwb", enrich=True, subject=given)


@pytest.mark.parametrize("enrich", [False, True])
def test_an_existing_file_is_replaced_only_when_asked(source, tmp_path, enrich):
    path = tmp_path / "out.nwb"
    path.write_text("mine")
    fit = lab_files.fit_of(source)
    with pytest.raises(ResultsError, match=r"exists. Pass --overwrite"):
        export(fit, path, enrich=enrich)
    assert path.read_text() == "mine"
    export(fit, path, enrich=enrich, overwrite=True)
    assert h5py.is_hdf5(path)


@pytest.mark.parametrize("enrich", [False, True])
def test_a_failure_leaves_the_old_file_and_nothing_else(source, tmp_path, enrich, monkeypatch):
    path = tmp_path / "out.nwb"
    path.write_text("mine")
    fit = lab_files.fit_of(source)
    broken = replace(fit, edges=fit.edges.assign(pre=999))
    with pytest.raises(ResultsError, match="Neuron 999 is not among the 5 fitted ones"):
        export(broken, path, enrich=enrich, overwrite=True)
    assert path.read_text() == "mine"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["lab.nwb", "out.nwb"]


@pytest.mark.parametrize("enrich", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing(source, tmp_path, enrich):
    run = lab_files.fit_of(source).save(tmp_path / "run")
    path = tmp_path / "out" / "x.nwb"
    program = f"""
import resource, signal
from pathlib import Path
import nwbdyn
from nwbdyn import archive
from nwbdyn.errors import ResultsError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import pynwb, ndx_population_dynamics
fit = nwbdyn.load({str(run)!r})
room = 100_000 if not {enrich} else Path({str(source)!r}).stat().st_size + 50_000
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    nwbdyn.export(fit, {str(path)!r}, enrich={enrich})
except ResultsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Cannot write {path}: "), done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not list(path.parent.iterdir())


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
