"""Files of 0.1 and 0.2 open in pynwb with this version installed: types, tables, links, texts."""

import json

import numpy as np
import pytest
from pynwb import NWBHDF5IO
from validation import problems

VERSIONS = ("0.1.0", "0.2.0")
FORMS = ("netformer", "gain", "attention", "static", "dense")
# pynwb says so where the installed extension is newer than the file's; that is what is tried.
pytestmark = pytest.mark.filterwarnings("ignore:Ignoring the following cached namespace")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_of_an_older_file_comes_back_with_its_type_and_contents(files, version):
    with NWBHDF5IO(files / f"{version}.nwb", "r") as io:
        objects = io.read().processing["population_dynamics"].data_interfaces
        assert {name: type(item).__name__ for name, item in objects.items()} == {
            "model_run": "ModelRun",
            "neurons": "NeuronTable",
            "predictions": "PredictedActivity",
            "edges": "ConnectivityEdges",
            "edge_weights": "EdgeWeightSeries",
            "cell_types": "CellTypeConnectivitySeries",
            "factors": "ConnectivityFactors",
        }
        run = objects["model_run"]
        assert (run.model, run.seed, run.config) == ("mock", 0, '{"context": 5}')
        assert run.run_sources["source"].dandiset_id == "000000"
        assert list(run.metrics["value"][:]) == [0.5, 0.4]
        assert list(run.splits["label"][:]) == ["train", "test"]
        predictions = objects["predictions"]
        assert predictions.run is run
        assert np.isnan(predictions.data[:5]).all()
        assert list(predictions.neurons.table["source_id"][:]) == [7, 8, 9]
        edges = objects["edges"]
        assert edges["pre"].table is objects["neurons"]
        assert edges["post"][1]["source_id"].item() == 7
        assert objects["edge_weights"].edges.table is edges
        assert objects["factors"].form == "gain"
        np.testing.assert_array_equal(objects["factors"].A, np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_older_fit_opens(files, version, form):
    with NWBHDF5IO(files / f"{version}_{form}.nwb", "r") as io:
        module = io.read().processing["population_dynamics"].data_interfaces
        (factors,) = (item for name, item in module.items() if name.endswith("_factors"))
        assert factors.form == form
        arrays = {
            "netformer": ("activity", "query", "key", "embedding"),
            "gain": ("A", "g"),
            "attention": ("maps",),
            "static": ("weight",),
            "dense": ("weights",),
        }
        assert all(getattr(factors, name)[:].size for name in arrays[form])
        assert json.loads(factors.run.binning)["bin_width"] == 0.5
        assert "r2@1" in list(factors.run.metrics["metric"][:])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_file_is_valid_by_its_own_specification(files, version):
    assert not problems(files / f"{version}.nwb")
