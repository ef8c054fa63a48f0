"""The README's code runs, writes every type, and its formulas give the exact matrix."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pynwb
import pytest
from ndx_population_dynamics.testing import mock
from pynwb import NWBHDF5IO
from specification import EXTENSION, generator
from validation import problems

README = (EXTENSION / "README.md").read_text("utf-8")
WRITING, FORMULAS, PYNAPPLE = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
SITE = Path(pynwb.__file__).parents[1]
WITHOUT_THE_EXTENSION = """
import sys
class NotInstalled:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("ndx_population_dynamics", "nwbdyn"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's file in it."""
    folder = tmp_path_factory.mktemp("readme")
    program = WRITING.replace('"example.nwb"', repr(str(folder / "example.nwb")))
    exec(compile(program, "README.md", "exec"), {})
    return folder


def test_the_hand_written_file_holds_every_type_and_is_valid(folder):
    path = folder / "example.nwb"
    assert not problems(path)
    with NWBHDF5IO(path, "r") as io:
        written = {type(item).__name__ for item in io.read().objects.values()}
    names = {spec.neurodata_type_def for spec in generator().TYPES}
    assert names - written == {"ConnectivityComponent"}  # abstract


def test_nwbinspector_has_nothing_to_say_of_the_hand_written_objects(folder):
    inspector = pytest.importorskip("nwbinspector", reason="nwbinspector is not installed")
    ours = {spec.neurodata_type_def for spec in generator().TYPES}
    messages = [
        f"{message.check_function_name} {message.object_name}: {message.message}"
        for message in inspector.inspect_nwbfile(nwbfile_path=str(folder / "example.nwb"))
        if message.object_type in ours or message.importance.name != "BEST_PRACTICE_SUGGESTION"
    ]
    assert not messages


def test_the_formulas_run_where_the_extension_is_not_installed(folder):
    program = f"{WITHOUT_THE_EXTENSION}\nsys.path.append({str(SITE)!r})\n{FORMULAS}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", program],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(3, 3)")
    assert "unit 7" in done.stdout


def test_the_formulas_sum_to_hand_calculated_matrices():
    functions: dict = {}
    exec(compile(FORMULAS.split("\nwith NWBHDF5IO")[0], "README.md", "exec"), functions)
    run, neurons = mock.mock_ModelRun(), mock.mock_NeuronsTable()
    ones = np.ones((3, 3))
    connectivity = mock.mock_TimeResolvedConnectivity(
        run=run,
        neurons=neurons,
        connectivity_components=[
            mock.mock_ConstantConnectivity(weight=np.stack([ones, 2 * ones])),
            mock.mock_GainConnectivity(
                weight=ones, gain=np.outer(np.arange(20.0), [1.0, 10.0, 100.0])
            ),
            mock.mock_StateDependentConnectivity(weight=np.stack([1000 * ones, 2000 * ones])),
            mock.mock_TimeFollowingConnectivity(
                basis=np.stack([np.arange(20.0), np.ones(20)], axis=1),
                weight=np.stack([1e5 * ones, 1e7 * ones]),
            ),
            mock.mock_DenseConnectivity(
                weight=np.arange(20.0)[:, None, None] * 1e9 * ones, zero_diagonal=True
            ),
            mock.mock_QueryKeyConnectivity(
                # two bins of history and no embedding of effect: q_i = newest, k_j = oldest - 1
                activity=np.arange(63.0).reshape(21, 3),
                last_bin=np.arange(1, 21),
                embedding=np.zeros((3, 1)),
                query=np.array([[0.0, 1.0, 0.0]]),
                key=np.array([[1.0, 0.0, 0.0]]),
                key_offset=np.ones((3, 1)),
                norm_gain=None,
                norm_bias=None,
                context=2,
                scale=0.5,
            ),
        ],
    )
    off = 1 - np.eye(3)
    for t, state in ((2, 1000), (9, 2000), (17, 0)):
        gains = t * np.array([1.0, 10.0, 100.0])[:, None]
        newest, oldest = 3 * (t + 1) + np.arange(3.0), 3 * t + np.arange(3.0)
        wanted = 3 + gains + state + t * 1e5 + 1e7 + t * 1e9 * off
        wanted = wanted + 0.5 * np.outer(newest, oldest - 1)
        np.testing.assert_allclose(functions["matrix_at"](connectivity, t), wanted, rtol=1e-12)


def test_a_norm_makes_tokens_of_mean_zero_and_unit_variance():
    functions: dict = {}
    exec(compile(FORMULAS.split("\nwith NWBHDF5IO")[0], "README.md", "exec"), functions)
    component = mock.mock_QueryKeyConnectivity(
        activity=np.array([[1.0, 2.0], [3.0, 2.0]]),
        last_bin=[1],
        embedding=np.array([[2.0], [8.0]]),
        query=np.eye(3),
        key=np.eye(3),
        key_offset=None,
        norm_gain=np.full(3, 2.0),
        norm_bias=np.zeros(3),
        context=2,
        scale=1.0,
    )
    # Tokens (1, 3, 2) and (2, 2, 8): centred (-1, 1, 0) and (-2, -2, 4), variances 2/3 and 8.
    first = 2 * np.array([-1.0, 1.0, 0.0]) / np.sqrt(2 / 3 + 1e-5)
    second = 2 * np.array([-2.0, -2.0, 4.0]) / np.sqrt(8 + 1e-5)
    tokens = np.stack([first, second])
    np.testing.assert_allclose(functions["query_key"](component, 0), tokens @ tokens.T, rtol=1e-12)


def test_pynapple_shows_columns_by_name(folder, monkeypatch):
    pytest.importorskip("pynapple", reason="pynapple is not installed")
    monkeypatch.chdir(folder)
    exec(compile(PYNAPPLE, "README.md", "exec"), {})  # the block alone, as it is copied
