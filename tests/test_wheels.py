"""The package and the NWB extension are two wheels, and no file is in both."""

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "extensions" / "ndx-population-dynamics"
SCHEMAS = ROOT / "nwbdyn" / "cli" / "schemas"
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # names that differ there


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))


def test_the_package_depends_on_a_range_that_holds_the_extension_of_this_tree():
    needed = [Requirement(line) for line in project(ROOT)["project"]["dependencies"]]
    (extension,) = (one for one in needed if one.name == "ndx-population-dynamics")
    version = Version(project(EXTENSION)["project"]["version"])
    assert version in extension.specifier
    assert Version("0.2.0") not in extension.specifier  # has other types
    assert Version("0.4.0") not in extension.specifier


@pytest.mark.parametrize("folder", [ROOT, EXTENSION], ids=["package", "extension"])
def test_the_conda_recipe_needs_what_the_package_needs(folder):
    described = project(folder)["project"]
    recipe = YAML(typ="safe").load(ROOT / "conda" / described["name"] / "meta.yaml")
    assert recipe["package"]["version"] == described["version"]
    python, *listed = recipe["requirements"]["run"]
    assert python == f"python {described['requires-python']}"
    needed = [Requirement(line) for line in described["dependencies"]]
    wanted = {CONDA.get(one.name, one.name): one.specifier for one in needed}
    assert {line.split()[0]: SpecifierSet(line.partition(" ")[2]) for line in listed} == wanted
    assert (folder / recipe["about"]["license_file"]).is_file()
    source = (ROOT / "conda" / described["name"] / recipe["source"]["path"]).resolve()
    assert source == folder


def test_the_citation_is_of_this_version():
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    described = project(ROOT)["project"]
    preferred = citation["preferred-citation"]
    assert citation["version"] == preferred["version"] == described["version"]
    assert citation["license"] == described["license"]
    assert preferred["authors"] == citation["authors"]
    assert {"type", "title", "year"} <= set(preferred)


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
    schemas = {f"nwbdyn/cli/schemas/{path.name}" for path in SCHEMAS.glob("*.json")}
    assert len(schemas) > 10
    assert schemas <= package
    assert not any(name.startswith("ndx_") for name in package)
    assert {
        "ndx_population_dynamics/__init__.py",
        "ndx_population_dynamics/checks.py",
        "ndx_population_dynamics/py.typed",
        "ndx_population_dynamics/spec/ndx-population-dynamics.namespace.yaml",
        "ndx_population_dynamics/spec/ndx-population-dynamics.extensions.yaml",
        "ndx_population_dynamics/spec/ndx-population-dynamics.legacy.yaml",
    } <= extension


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="the build backend is not installed"
)
def test_both_wheels_work_without_the_repository(tmp_path):
    """An environment with both wheels; their dependencies are those of this environment."""
    for folder in (ROOT, EXTENSION):
        command = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path / "dist")]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    wheels = [str(path) for path in (tmp_path / "dist").glob("*.whl")]
    archives = list((tmp_path / "dist").glob("*.tar.gz"))
    assert len(wheels) == len(archives) == 2
    for archive in archives:
        with tarfile.open(archive) as members:
            assert any(name.endswith(("/LICENSE", "/LICENSE.txt")) for name in members.getnames())
            members.extractall(tmp_path / "sources", filter="data")
    for folder in (tmp_path / "sources").iterdir():
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
        subprocess.run([*command, tmp_path / "again"], cwd=folder, check=True, capture_output=True)
    for wheel in wheels:  # a source archive holds all that its wheel needs
        again = tmp_path / "again" / Path(wheel).name
        assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    program = environment / ("Scripts" if sys.platform == "win32" else "bin")
    install = [str(program / "python"), "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    subprocess.run([*install, *wheels], check=True, cwd=tmp_path)
    (own,) = environment.rglob("site-packages")
    dependencies = Path(importlib.util.find_spec("numpy").origin).parents[1]
    (own / "dependencies.pth").write_text(f"{dependencies}\n")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = "import nwbdyn, ndx_population_dynamics as n; print(nwbdyn.__file__, n.__file__)"
    run = {"cwd": tmp_path, "env": clean, "check": True, "capture_output": True, "text": True}
    printed = subprocess.run([str(program / "python"), "-c", where], **run).stdout.split()
    assert all(Path(path).is_relative_to(own) for path in printed)
    fit = ["fit", "sample:cortex?neurons=8&duration=90", "--model", "netformer", "--epochs", "1"]
    done = subprocess.run([str(program / "nwbdyn"), *fit, "-o", "run", "--json"], **run)
    assert json.loads(done.stdout)["recordings"][0]["status"] == "fitted"
    subprocess.run([str(program / "nwbdyn"), "export", "run", "-o", "run/fit.nwb", "-q"], **run)
    assert (tmp_path / "run" / "fit.nwb").exists()
