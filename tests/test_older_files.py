"""Exported files of every earlier version of the extension keep reading, with the same numbers.

The files lie in the extension's archive, `VERSION_FORM.nwb`, as the package of their time exported
the fits of `lab_files`; `VERSION_expected.npz` holds what those fits answered in memory.
"""

import tarfile
from pathlib import Path

import numpy as np
import pytest

import nwbdyn

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / "extensions/ndx-population-dynamics/src/pynwb/tests/files.tar.xz"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0")
FORMS = ("netformer", "gain", "attention", "static", "dense")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the archive."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=[f"{version}_{form}" for version in VERSIONS for form in FORMS])
def path(request: pytest.FixtureRequest, folder: Path) -> Path:
    return folder / f"{request.param}.nwb"


def expected(path: Path) -> dict[str, np.ndarray]:
    version, form = path.stem.split("_")
    with np.load(path.parent / f"{version}_expected.npz") as stored:
        names = [name for name in stored.files if name.startswith(f"{form}_")]
        return {name.removeprefix(f"{form}_"): stored[name] for name in names}


def test_the_archive_holds_every_form_of_every_version(folder):
    assert {path.stem for path in folder.glob("*_*.nwb")} == {
        f"{version}_{form}" for version in VERSIONS for form in FORMS
    }


def test_an_older_file_gives_the_numbers_that_were_exported(path):
    wanted = expected(path)
    with nwbdyn.open_results(path) as fit:
        connectivity = fit.connectivity
        np.testing.assert_array_equal(connectivity.at(15.2), wanted["at"])
        np.testing.assert_allclose(connectivity.mean(), wanted["mean"], rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(fit.predictions.values, wanted["predictions"])
        np.testing.assert_allclose(fit.edges["weight"], wanted["weight"], rtol=1e-6)
        if "currents" in wanted:
            np.testing.assert_array_equal(fit.currents, wanted["currents"])
        if "influence" in wanted:
            np.testing.assert_allclose(fit.influence.mean(), wanted["influence"], rtol=1e-6)
        if "contributions" in wanted:
            sent = connectivity.contributions().mean()
            np.testing.assert_allclose(sent, wanted["contributions"], rtol=1e-5, atol=1e-6)


def test_an_older_file_states_how_it_was_fitted(path):
    with nwbdyn.open_results(path) as fit:
        assert fit.config == {"epochs": 3, "history": 4, "updates": None}
        assert fit.binning["bin_width"] == 0.5
        assert fit.split["rule"] == "contiguous 70/15/15"
        assert fit.history[0]["epoch"] == 1
        assert np.isnan(fit.history[0]["validation"])
        assert fit.metrics["model"]["test"]["r2@1"] == 0.5
        assert fit.metrics["intervals"]["model"]["test"]["r2@1"] == [0.4, 0.6]
        assert fit.environment["threads"] == 1
        assert fit.versions["nwbdyn"] == "0.1.0"
        assert (fit.seed, fit.device, fit.source.uri) == (0, "cpu", "lab.nwb")
        assert fit.neurons.ids.tolist() == [10, 11, 12, 13, 14]
        assert fit.session["session_id"] == "s1"
