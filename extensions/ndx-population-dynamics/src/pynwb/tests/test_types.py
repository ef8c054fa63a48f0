"""Every type survives writing, reading, appending and exporting, and the files are valid NWB."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import older_files
import pytest
from make_file import add_results, version, write_file
from pynwb import NWBHDF5IO
from validation import problems

TYPES = [
    "ModelRun",
    "NeuronsTable",
    "PredictedActivitySeries",
    "ConnectivityEdgesTable",
    "EdgeWeightSeries",
    "CellTypeConnectivitySeries",
    "CellTypeConnectivityTable",
    "TimeResolvedConnectivity",
]
COMPONENTS = [
    "AttentionConnectivity",
    "ConstantConnectivity",
    "DenseConnectivity",
    "GainConnectivity",
    "QueryKeyConnectivity",
    "StateDependentConnectivity",
    "TimeFollowingConnectivity",
]
SINCE_THESE_TYPES = ("0.3.0",)  # versions


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("types") / "types.nwb"
    write_file(path)
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(written, tmp_path))


def test_every_object_comes_back_with_its_type_and_contents(path):
    check_contents(path)


# pynwb says so where the installed extension is newer than the file's; that is what is tried.
@pytest.mark.filterwarnings("ignore:Ignoring the following cached namespace")
@pytest.mark.parametrize("older", SINCE_THESE_TYPES)
def test_a_file_of_every_version_since_these_types_keeps_reading(files, older):
    check_contents(files / f"{older}.nwb")


def test_every_version_has_left_its_files(files):
    assert version() in SINCE_THESE_TYPES
    whole = {path.stem for path in files.glob("*.nwb") if "_" not in path.stem}
    assert whole == {"0.1.0", "0.2.0", *SINCE_THESE_TYPES}


def test_a_file_is_added_to_the_archive_once_and_never_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(older_files, "ARCHIVE", tmp_path / "files.tar.xz")
    path = tmp_path / "9.9.9.nwb"
    path.write_text("first")
    older_files.add([path])
    path.write_text("second")
    with pytest.raises(FileExistsError, match=r"files\.tar\.xz has 9\.9\.9\.nwb"):
        older_files.add([path])
    assert (older_files.unpack(tmp_path / "out") / "9.9.9.nwb").read_text() == "first"


def check_contents(path: Path) -> None:
    with NWBHDF5IO(path, "r") as io:
        objects = io.read().processing["population_dynamics"].data_interfaces
        assert sorted(type(item).__name__ for item in objects.values()) == sorted(TYPES)
        run = objects["model_run"]
        assert (run.model, run.seed, run.bin_width) == ("mock", 0, 0.1)
        assert run.run_sources["source"].dandiset_id == "000000"
        assert list(run.metrics["value"][:]) == [0.5, 0.4]
        assert list(run.splits["label"][:]) == ["train", "test"]
        assert list(run.details["value"][:]) == ["5", "poisson"]
        assert list(run.training_history["validation"][:]) == [0.95, 0.8]
        assert list(run.run_notes["code"][:]) == ["skipped-column"]
        predictions = objects["predictions"]
        assert predictions.run is run
        assert predictions.data.shape == (20, 3)
        assert np.isnan(predictions.data[:5]).all()
        assert predictions.control_description[predictions.control[19]] == "test"
        assert list(predictions.neurons.table["neuron_name"][:]) == ["unit 7", "unit 8", "unit 9"]
        edges = objects["edges"]
        assert edges.neurons is objects["neurons"]
        assert objects["edge_weights"].edges.table is edges
        assert objects["edge_weights"].window_start == -0.4
        assert list(objects["cell_types"].post_type) == ["pv", "pv", "pyr", "pyr"]
        connectivity = objects["connectivity"]
        components = connectivity.connectivity_components.values()
        assert sorted(type(item).__name__ for item in components) == COMPONENTS
        gain = connectivity.connectivity_components["gain"]
        np.testing.assert_array_equal(gain.weight, np.arange(9.0).reshape(3, 3))
        assert bool(connectivity.is_causal)
        assert connectivity.kind == "directed"


def test_the_edge_table_is_flat_with_names_and_ids(path):
    with NWBHDF5IO(path, "r") as io:
        frame = io.read().processing["population_dynamics"]["edges"].to_dataframe()
    assert list(frame.columns) == [
        "pre", "post", "pre_id", "post_id", "pre_row", "post_row", "kind", "lag", "weight",
    ]  # fmt: skip
    assert frame.iloc[0].tolist() == ["unit 7", "unit 8", 7, 8, 0, 1, "directed", 1, 0.5]


def test_a_file_of_every_type_is_valid(path):
    assert not problems(path)


def test_a_second_run_is_appended_and_leaves_the_first_alone(path):
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        first = {name: item.object_id for name, item in module.data_interfaces.items()}
    with NWBHDF5IO(path, "a") as io:
        nwbfile = io.read()
        add_results(nwbfile, prefix="second_")
        io.write(nwbfile)
    assert not problems(path)
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        assert len(module.data_interfaces) == 2 * len(TYPES)
        assert {name: module[name].object_id for name in first} == first
        assert module["second_edges"].run is module["second_model_run"]
        assert module["edges"].run is module["model_run"]


def test_an_exported_file_keeps_every_object(path, tmp_path):
    copy = tmp_path / "copy.nwb"
    with NWBHDF5IO(path, "r") as source, NWBHDF5IO(copy, "w") as target:
        target.export(src_io=source, nwbfile=source.read())
    assert not problems(copy)
    with NWBHDF5IO(copy, "r") as io:
        assert len(io.read().processing["population_dynamics"].data_interfaces) == len(TYPES)


WRONG_DIMENSIONS = {
    "predictions/data": (20, 3, 2),
    "connectivity/constant/weight": (3, 3),
    "connectivity/gain/gain": (20,),
    "connectivity/dense/weight": (20, 9),
    "connectivity/attention/maps": (20, 3, 3),
}
REQUIRED = (
    "connectivity/gain/gain",
    "connectivity/constant/lags",
    "connectivity/query_key/embedding",
    "connectivity/states/state_index",
    "connectivity/drift/basis",
    "connectivity/neurons",
    "edges/kind",
    "edges/neurons",
    "predictions/neurons",
    "edge_weights/edges",
)


def refused(path: Path) -> set[str]:
    """Objects at which pynwb refuses the file, inside the module."""
    return {
        f"{error.location} {error.name} {error.reason}".partition("population_dynamics/")[2]
        for error in problems(path)
    }


def test_arrays_of_the_wrong_dimensions_are_not_valid(path):
    with h5py.File(path, "a") as file:
        module = file["processing/population_dynamics"]
        for name, shape in WRONG_DIMENSIONS.items():
            attributes = dict(module[name].attrs)
            del module[name]
            module[name] = np.zeros(shape)
            module[name].attrs.update(attributes)
    errors = refused(path)
    for name in WRONG_DIMENSIONS:
        assert any(error.startswith(name) and "shape" in error for error in errors), name


def test_a_file_without_a_required_array_or_table_is_not_valid(path):
    with h5py.File(path, "a") as file:
        for name in REQUIRED:
            del file[f"processing/population_dynamics/{name}"]
    errors = refused(path)
    for name in REQUIRED:
        parent, _, child = name.rpartition("/")
        assert any(error.startswith(parent) and child in error for error in errors), name


def test_a_connectivity_of_a_form_that_does_not_exist_is_not_valid(path):
    with h5py.File(path, "a") as file:
        connectivity = file["processing/population_dynamics/connectivity"]
        for name in set(connectivity) - {"gain", "neurons", "timestamps", "run"}:
            del connectivity[name]
    assert not problems(path)
    with h5py.File(path, "a") as file:
        gain = file["processing/population_dynamics/connectivity/gain"]
        gain.attrs["neurodata_type"] = "BananaConnectivity"
    assert any("ConnectivityComponent" in str(error) for error in problems(path))


def test_a_region_of_another_kind_of_table_or_of_none_is_not_valid(path):
    with h5py.File(path, "a") as file:
        module = file["processing/population_dynamics"]
        module["predictions/neurons"].attrs["table"] = module["cell_type_pairs"].ref
        module["edge_weights/edges"].attrs["table"] = module["cell_type_pairs"].ref
        del module["connectivity/neurons"].attrs["table"]
    errors = refused(path)
    for name in ("predictions/neurons", "edge_weights/edges", "connectivity/neurons"):
        assert any(error.startswith(name) and "table" in error for error in errors), (name, errors)
