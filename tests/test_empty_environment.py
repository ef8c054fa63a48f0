"""Both packages work in an environment that holds nothing else than what they ask for.

The dependencies come from a package registry, about a gigabyte of them, so the tests run where
NWBDYN_REGISTRY is set: `make wheels`. They leave the repository behind: only the wheels, the source
archives and the text of both READMEs go along.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from standin import KEY, StandIn

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "extensions" / "ndx-population-dynamics"
FACTS = """
import importlib.metadata as m, importlib.resources as r, json, sys
import ndx_population_dynamics, nwbdyn
packages = {"nwbdyn": "nwbdyn", "ndx-population-dynamics": "ndx_population_dynamics"}
licences = {name: [str(path) for path in m.files(name) if "/licenses/LICENSE" in str(path)]
            for name in packages}
print(json.dumps({
    "where": [nwbdyn.__file__, ndx_population_dynamics.__file__],
    "licences": licences,
    "typed": [(r.files(name) / "py.typed").is_file() for name in packages.values()],
    "versions": [nwbdyn.__version__, m.version("nwbdyn")],
    "heavy": sorted({"torch"} & set(sys.modules)),
}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "NWBDYN_REGISTRY" not in os.environ,
        reason="set NWBDYN_REGISTRY to install from a package registry, as `make wheels` does",
    ),
]


class Environment:
    """A virtual environment, with programs that run in a folder outside the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        self.programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        left_out = ("PYTHONPATH", "PYTHONHOME")
        self.variables = {k: v for k, v in os.environ.items() if k not in left_out}
        self.variables |= {"NWBDYN_CACHE": str(folder / "cache"), "DANDI_NO_ET": "1"}

    def run(self, program: str, *arguments: object, **variables: str) -> str:
        """Standard output of a program of the environment."""
        done = subprocess.run(
            [str(self.programs / program), *map(str, arguments)],
            cwd=self.work,
            env=self.variables | variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def install(self, *what: object) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", *what)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with both wheels and both source archives."""
    folder = tmp_path_factory.mktemp("dist")
    for project in (ROOT, EXTENSION):
        command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    assert len(list(folder.iterdir())) == 4
    return folder


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory) -> Environment:
    """An environment with both wheels and what they and the extra `tutorials` ask for."""
    environment = Environment(tmp_path_factory.mktemp("empty"))
    (wheel,) = built.glob("nwbdyn-*.whl")
    (extension,) = built.glob("ndx_*.whl")
    pins = ("--constraint", ROOT / "constraints.txt")
    environment.install(*pins, extension, f"nwbdyn[tutorials] @ {wheel.as_uri()}")
    return environment


def blocks(readme: Path) -> list[str]:
    """The Python examples of a README."""
    return re.findall(r"^```python\n(.*?)^```", readme.read_text("utf-8"), re.M | re.S)


def test_the_wheels_bring_their_programs_licences_and_types(environment):
    facts = json.loads(environment.run("python", "-c", FACTS))
    assert all(Path(path).is_relative_to(environment.folder) for path in facts["where"])
    assert all(len(actual) == 1 for actual in facts["licences"].values())
    assert facts["typed"] == [True, True]
    assert facts["versions"][0] == facts["versions"][1]
    assert not facts["heavy"]
    assert facts["versions"][0] in environment.run("nwbdyn", "--version")
    assert "No broken requirements" in environment.run("python", "-m", "pip", "check")


def test_the_source_archives_install_as_the_wheels_do(environment, built):
    archives = sorted(built.glob("*.tar.gz"))
    environment.install("--force-reinstall", "--no-deps", *archives)
    facts = json.loads(environment.run("python", "-c", FACTS))
    assert facts["typed"] == [True, True]
    assert all(len(actual) == 1 for actual in facts["licences"].values())
    assert "inspect" in environment.run("nwbdyn", "--help")


def test_the_quick_start_runs(environment):
    (example,) = blocks(ROOT / "README.md")
    assert "netformer" in environment.run("python", "-c", example)
    assert (environment.work / "cortex.nwb").is_file()


def test_the_example_of_the_extension_runs(environment):
    for number, example in enumerate(blocks(EXTENSION / "README.md")[:2]):
        environment.run("python", "-c", example)
        assert number or list(environment.work.glob("*.nwb"))


def test_a_notebook_is_written_and_run(environment):
    address = "sample:cortex?neurons=8&duration=90"
    environment.run("nwbdyn", "notebook", address, "-o", "a.ipynb", "--updates", "20", "--quiet")
    notebook = json.loads((environment.work / "a.ipynb").read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert "error" not in kinds


def test_a_dandiset_is_fitted_and_its_results_are_shared_and_found_again(environment):
    archive = environment.folder / "archive"
    (archive / "000002").mkdir(parents=True)
    for seed in (0, 1):
        name = f"sub-sample-mouse/sub-sample-mouse_ses-cortex-{seed}_ophys.nwb"
        target = archive / "000001" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        environment.run("python", "-c", COPY, seed, target)
    with StandIn(archive) as server:
        there = {"DANDI_API_KEY": KEY, "NO_PROXY": "127.0.0.1,localhost"}
        on = ("--instance", server.api, "--json")
        fit = ("--model", "netformer", "--epochs", "1", "-o", "runs", *on)
        actual = environment.run("nwbdyn", "find", "dandi:000001", "--inspect", "--rois", *on)
        assert len(json.loads(actual)["hits"]) == 2
        environment.run("nwbdyn", "fit", "dandi:000001", *fit, **there)
        share = ("nwbdyn", "export", "runs", "--upload", "dandi:000002")
        dry = json.loads(environment.run(*share, *on, **there))
        assert [row["status"] for row in dry["files"]] == ["new", "new"]
        sent = json.loads(environment.run(*share, "--send", *on, **there))
        assert [row["status"] for row in sent["files"]] == ["sent", "sent"]
        again = json.loads(environment.run(*share, "--send", *on, **there))
        assert [row["status"] for row in again["files"]] == ["there", "there"]
        actual = environment.run("nwbdyn", "find", "dandi:000002", "--results", *on)
        addresses = [hit["address"] for hit in json.loads(actual)["hits"]]
        assert addresses == [row["asset"] for row in sent["files"]]
        environment.run("nwbdyn", "fetch", addresses[0], "-o", "fetched", *on)
        (fetched,) = (environment.work / "fetched").rglob("*.nwb")
        assert "netformer" in environment.run("python", "-c", OPEN, fetched)


COPY = """
import shutil, sys
from nwbdyn.simulate.sample_file import sample_file
shutil.copy(sample_file(f"sample:cortex?seed={sys.argv[1]}&neurons=8&duration=90"), sys.argv[2])
"""
OPEN = """
import sys, nwbdyn
with nwbdyn.open_results(sys.argv[1]) as fit:
    print(fit.summary())
"""
