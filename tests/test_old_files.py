"""Runs and exported files of earlier versions are read as they were written.

`files/make_0_1_0.py` made the archives with version 0.1.0.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nwbdyn

ARCHIVES = Path(__file__).parent / "files" / "0.1.0"
RUNS = {
    "netformer": "run",
    "synapsnet": "run",
    "stndt": "run",
    "benchmark": "run",
    "joint": "run/day1",
}


@pytest.fixture(params=RUNS)
def run(request, tmp_path) -> Path:
    """The run directory of one archive."""
    with zipfile.ZipFile(ARCHIVES / f"{request.param}.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path / RUNS[request.param]


def assert_as_expected(fit: nwbdyn.Fit, expected: dict) -> None:
    assert fit.model == expected["model"]
    assert len(fit.predictions.time) == expected["num_bins"]
    total = np.nansum(np.asarray(fit.predictions.values, np.float64))
    assert total == pytest.approx(expected["prediction_sum"], rel=1e-5)
    mean = np.asarray(fit.connectivity.mean())
    np.testing.assert_allclose(mean, expected["mean_connectivity"], atol=2e-6)


def test_a_run_of_version_0_1_is_loaded(run):
    expected = json.loads((run / "expected.json").read_text("utf-8"))
    fit = nwbdyn.load(run)
    assert_as_expected(fit, expected)
    assert fit.metrics["primary"] == expected["primary"]
    assert fit.metrics["model"] == expected["scores"]


def test_an_exported_file_of_version_0_1_is_opened(run):
    expected = json.loads((run / "expected.json").read_text("utf-8"))
    with nwbdyn.open_results(run / "results.nwb") as opened:
        assert_as_expected(opened, expected)


def test_a_run_of_version_0_1_is_exported_anew(run, tmp_path):
    nwbdyn.export(nwbdyn.load(run), tmp_path / "again.nwb")
    expected = json.loads((run / "expected.json").read_text("utf-8"))
    with nwbdyn.open_results(tmp_path / "again.nwb") as opened:
        assert_as_expected(opened, expected)


def test_an_enriched_file_of_version_0_1_is_opened(tmp_path):
    with zipfile.ZipFile(ARCHIVES / "netformer.zip") as archive:
        archive.extractall(tmp_path)
    expected = json.loads((tmp_path / "run" / "expected.json").read_text("utf-8"))
    with nwbdyn.open_results(tmp_path / "run" / "enriched.nwb") as opened:
        assert_as_expected(opened, expected)
