"""The package and the NWB extension are two wheels, and no file is in both."""

import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "extensions" / "ndx-population-dynamics"


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))


def test_the_package_depends_on_a_range_that_holds_the_extension_of_this_tree():
    needed = [Requirement(line) for line in project(ROOT)["project"]["dependencies"]]
    (extension,) = (one for one in needed if one.name == "ndx-population-dynamics")
    version = Version(project(EXTENSION)["project"]["version"])
    assert version in extension.specifier
    assert Version("0.2.0") not in extension.specifier  # has other types
    assert Version("0.4.0") not in extension.specifier


def test_make_installs_the_extension_with_the_package():
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "--editable" in line]
    definition, *installs = lines
    assert definition == "EXTENSION := --editable ./extensions/ndx-population-dynamics"
    assert installs
    assert all("$(EXTENSION) --editable" in line for line in installs)


@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="the build backend is not installed"
)
def test_both_wheels_build_without_a_network_and_share_no_file(tmp_path):
    contents = {}
    for folder in (ROOT, EXTENSION):
        name = project(folder)["project"]["name"]
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (wheel,) = tmp_path.glob(f"{name.replace('-', '_')}-*.whl")
        contents[name] = set(zipfile.ZipFile(wheel).namelist())
    package, extension = contents["nwbdyn"], contents["ndx-population-dynamics"]
    assert not package & extension
    assert {"nwbdyn/__init__.py", "nwbdyn/py.typed"} <= package
    assert not any(name.startswith("ndx_") for name in package)
    assert {
        "ndx_population_dynamics/__init__.py",
        "ndx_population_dynamics/checks.py",
        "ndx_population_dynamics/py.typed",
        "ndx_population_dynamics/spec/ndx-population-dynamics.namespace.yaml",
        "ndx_population_dynamics/spec/ndx-population-dynamics.extensions.yaml",
        "ndx_population_dynamics/spec/ndx-population-dynamics.legacy.yaml",
    } <= extension
