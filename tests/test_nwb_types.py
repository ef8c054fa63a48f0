"""Types of extensions, and everything in a file that a fit does not read."""

import pandas as pd
import pytest
from lab_files import fit_of, write_imaging
from nwb_files import (
    behaviour,
    made,
    noted,
    nwb,
    opened,
    series,
    table,
    typed,
    units,
)

import nwbdyn
from nwbdyn.errors import ReadError


def test_an_extension_s_type_is_known_by_its_cached_specification(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        series(behaviour(file), "paw", made(9, 2), "PoseEstimationSeries", rate=1.0)
        spec = {"groups": [{"neurodata_type_def": "PoseEstimationSeries"}]}
        spec["groups"][0]["neurodata_type_inc"] = "SpatialSeries"
        file["specifications/ndx-pose/0.1/ndx-pose"] = pd.io.json.ujson_dumps(spec)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.covariate("paw").channels == ("x", "y")  # the axes of a SpatialSeries
        assert "unknown-type" not in noted(recording)


def test_what_holds_nothing_for_a_fit_is_named(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        table(behaviour(file), "weights", "DynamicTable", grams=[20.0, 21.0])
    with opened(tmp_path / "a.nwb") as recording:
        assert noted(recording)["skipped-object"] == "/processing/behavior/weights"


def test_results_of_an_earlier_fit_are_not_taken_for_behaviour_or_cell_types(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        module = typed(file["processing"], "population_dynamics", "ProcessingModule")
        series(module, "run_predictions", made(9, 3), rate=1.0)
        table(module, "run_neurons", "DynamicTable", cell_type=["a", "b", "c"])
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.covariates == ()
        assert "cell_type" not in recording.neurons.table
        assert noted(recording)["earlier-results"] == "/processing/population_dynamics"


def test_a_file_of_results_alone_says_how_they_are_opened(tmp_path):
    path = nwbdyn.export(fit_of(write_imaging(tmp_path / "a.nwb")), tmp_path / "results.nwb")
    stated = r"holds results of nwbdyn alone\. Open them with nwbdyn\.open_results"
    with pytest.raises(ReadError, match=stated), opened(path):
        pass


def test_a_recording_without_activity_says_what_is_there(tmp_path):
    with nwb(tmp_path / "empty.nwb") as file:
        series(behaviour(file), "speed", made(9, 1), rate=1.0)
    message = r"empty\.nwb holds neither units .* It has: .*TimeSeries"
    with pytest.raises(ReadError, match=message), opened(tmp_path / "empty.nwb"):
        pass
