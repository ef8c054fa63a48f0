"""A sum of components in a file is evaluated as the formulas of the extension's README have it.

The README's file is written by hand and holds a component of every type: a constant at two lags, a
gain whose matrix has a diagonal, a dynamic part with offsets of its keys, and others. It is read
once with plain pynwb and the formulas, once with `open_results`.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

import nwbdyn
from nwbdyn.errors import ResultsError

README = Path(__file__).parents[1] / "extensions/ndx-population-dynamics/README.md"
WRITING, FORMULAS = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)[:2]
CONNECTIVITY = "processing/population_dynamics/example_connectivity"
EVERY = {"constant", "dynamic", "gain", "attention", "states", "drift", "dense"}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # single precision, seven numbers of order one to ten


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readme") / "example.nwb"
    exec(compile(WRITING.replace('"example.nwb"', repr(str(path))), "README.md", "exec"), {})
    return path


@pytest.fixture(scope="module")
def matrix_at() -> Callable[[Any, int], np.ndarray]:
    functions: dict[str, Any] = {}
    exec(compile(FORMULAS.split("\nwith NWBHDF5IO")[0], "README.md", "exec"), functions)
    return functions["matrix_at"]


def with_components(by_hand: Path, folder: Path, names: set[str], without_diagonal: set[str]):
    """A copy of the file with these components, some of which have a diagonal that counts as 0."""
    path = shutil.copy(by_hand, folder / "components.nwb")
    with h5py.File(path, "a") as file:
        group = file[CONNECTIVITY]
        for name in EVERY - names:
            del group[name]
        for name in without_diagonal:
            group[name].attrs["zero_diagonal"] = np.bool_(True)
    return path


CASES = {
    "every component": (EVERY, set(), "sum"),
    "two without diagonal": (EVERY, {"gain", "dynamic"}, "sum"),
    "constant and gain": ({"constant", "gain"}, set(), "gain"),
    "constant and gain without diagonal": ({"constant", "gain"}, {"gain"}, "sum"),
    "constant and dynamic": ({"constant", "dynamic"}, set(), "sum"),
    "constant and dynamic without diagonal": ({"constant", "dynamic"}, {"dynamic"}, "netformer"),
    "constant without diagonal, gain": ({"constant", "gain"}, {"constant"}, "sum"),
    "constant, gain, dynamic": ({"constant", "gain", "dynamic"}, {"dynamic"}, "sum"),
    "dynamic alone": ({"dynamic"}, set(), "netformer"),
    "gain alone without diagonal": ({"gain"}, {"gain"}, "sum"),
    "states alone": ({"states"}, set(), "states"),
    "drift alone": ({"drift"}, set(), "basis"),
}


@pytest.mark.parametrize("case", CASES)
def test_open_results_adds_components_as_plain_pynwb_does(by_hand, matrix_at, tmp_path, case):
    names, without_diagonal, form = CASES[case]
    path = with_components(by_hand, tmp_path, names, without_diagonal)
    with NWBHDF5IO(path, "r") as io:
        stored = io.read().processing["population_dynamics"]["example_connectivity"]
        wanted = np.stack([matrix_at(stored, t) for t in range(20)])  # (time, post, pre)
    diagonal = wanted[:, range(3), range(3)]
    assert (abs(diagonal).max() == 0) == (names == without_diagonal)
    with nwbdyn.open_results(path) as fit:
        connectivity = fit.connectivity
        assert connectivity.form == form
        np.testing.assert_allclose(connectivity.to_xarray(), wanted, **CLOSE)
        np.testing.assert_allclose(connectivity.at(connectivity.time[7]), wanted[7], **CLOSE)
        np.testing.assert_allclose(connectivity.mean(), wanted.mean(axis=0), **CLOSE)
        pre, post = np.array([7, 8, 9, 9]), np.array([8, 7, 9, 7])  # ids; one is a diagonal
        np.testing.assert_allclose(
            connectivity.over_time(pre, post), wanted[:, post - 7, pre - 7], **CLOSE
        )
        types = connectivity.by_cell_type()  # pyr, pv, pyr
        to_pv = types.sel(post_type="pv", pre_type="pyr")
        np.testing.assert_allclose(to_pv, wanted[:, 1, [0, 2]].mean(axis=1), **CLOSE)
        among = types.sel(post_type="pyr", pre_type="pyr")
        np.testing.assert_allclose(among, wanted[:, [0, 2], [2, 0]].mean(axis=1), **CLOSE)


def test_results_of_other_software_have_edges_and_predictions_but_no_verdict(by_hand, tmp_path):
    with nwbdyn.open_results(by_hand) as fit:
        assert fit.edges["weight"].tolist() == pytest.approx([0.5, -0.4])
        assert fit.predictions.values.shape == (24, 3)
        assert not fit.predictions.held_out.any()
        assert fit._repr_html_() == "&lt;Fit example on sub-X, 3 neurons&gt;"
        with pytest.raises(ResultsError, match=r"no verdict on example: .* Use fit\.edges"):
            fit.summary()
        with pytest.raises(ResultsError, match="form 'sum' has no contributions"):
            fit.connectivity.contributions()


def test_a_component_of_a_later_version_is_named(by_hand, tmp_path):
    path = with_components(by_hand, tmp_path, {"constant", "dense"}, set())
    with h5py.File(path, "a") as file:
        file[f"{CONNECTIVITY}/dense"].attrs["neurodata_type"] = "TensorConnectivity"
    with pytest.raises(ResultsError, match=r"connectivity/dense in .* is a TensorConnectivity"):
        nwbdyn.open_results(path)
