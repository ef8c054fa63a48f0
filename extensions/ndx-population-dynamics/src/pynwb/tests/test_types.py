"""Every type survives writing, reading, appending and exporting, and the files are valid NWB."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from make_file import FILES, add_results, version, write_file
from pynwb import NWBHDF5IO, validate

TYPES = [
    "ModelRun",
    "NeuronTable",
    "PredictedActivity",
    "ConnectivityEdges",
    "EdgeWeightSeries",
    "CellTypeConnectivitySeries",
    "ConnectivityFactors",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_file(tmp_path / "types.nwb")
    return tmp_path / "types.nwb"


def test_every_object_comes_back_with_its_type_and_contents(path):
    check_contents(path)


# pynwb says so where the installed extension is newer than the file's; that is what is tried.
@pytest.mark.filterwarnings("ignore:Ignoring the following cached namespace")
@pytest.mark.parametrize("path", sorted(FILES.glob("*.nwb")), ids=lambda path: path.stem)
def test_a_file_of_every_version_keeps_reading(path):
    check_contents(path)


def test_this_version_has_left_its_file():
    assert (FILES / f"{version()}.nwb").exists()


def check_contents(path: Path) -> None:
    with NWBHDF5IO(path, "r") as io:
        objects = io.read().processing["population_dynamics"].data_interfaces
        assert sorted(type(item).__name__ for item in objects.values()) == sorted(TYPES)
        run = objects["model_run"]
        assert (run.model, run.seed, run.config) == ("mock", 0, '{"context": 5}')
        assert run.run_sources["source"].dandiset_id == "000000"
        assert list(run.metrics["value"][:]) == [0.5, 0.4]
        assert list(run.splits["label"][:]) == ["train", "test"]
        predictions = objects["predictions"]
        assert predictions.run is run
        assert predictions.data.shape == (20, 3)
        assert np.isnan(predictions.data[:5]).all()
        assert predictions.control_description[predictions.control[19]] == "test"
        assert list(predictions.neurons.table["source_id"][:]) == [7, 8, 9]
        edges = objects["edges"]
        assert edges["pre"].table is objects["neurons"]
        assert edges["post"][1]["source_id"].item() == 7
        assert objects["edge_weights"].edges.table is edges
        assert objects["edge_weights"].window_start == -0.4
        assert list(objects["cell_types"].post_type) == ["pv", "pv", "pyr", "pyr"]
        assert objects["factors"].form == "gain"
        np.testing.assert_array_equal(objects["factors"].A, np.arange(9.0).reshape(3, 3))
        assert bool(objects["factors"].is_causal)


def test_a_file_of_every_type_is_valid(path):
    assert not validate(path=str(path))


def test_a_second_run_is_appended_and_leaves_the_first_alone(path):
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        first = {name: item.object_id for name, item in module.data_interfaces.items()}
    with NWBHDF5IO(path, "a") as io:
        nwbfile = io.read()
        add_results(nwbfile, prefix="second_")
        io.write(nwbfile)
    assert not validate(path=str(path))
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
    assert not validate(path=str(copy))
    with NWBHDF5IO(copy, "r") as io:
        assert len(io.read().processing["population_dynamics"].data_interfaces) == len(TYPES)


def test_a_file_with_predictions_in_three_dimensions_is_not_valid(path):
    with h5py.File(path, "a") as file:
        predictions = file["processing/population_dynamics/predictions"]
        attributes = dict(predictions["data"].attrs)
        del predictions["data"]
        predictions["data"] = np.zeros((20, 3, 2))
        predictions["data"].attrs.update(attributes)
    assert any("shape" in error.reason for error in validate(path=str(path)))
