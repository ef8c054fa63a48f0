"""The committed specification is the one that the script writes."""

import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pynwb
import pytest
import yaml

EXTENSION = Path(__file__).resolve().parents[3]
SCRIPT = EXTENSION / "src" / "spec" / "create_extension_spec.py"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spec")
    subprocess.run([sys.executable, SCRIPT, folder], check=True)
    return folder


def test_the_committed_specification_is_what_the_script_writes(written):
    committed = sorted((EXTENSION / "spec").iterdir())
    assert [path.name for path in committed] == sorted(path.name for path in written.iterdir())
    for path in committed:
        assert path.read_text() == (written / path.name).read_text(), path.name


def test_no_dtype_is_one_that_older_readers_cannot_open(written):
    text = (written / "ndx-population-dynamics.extensions.yaml").read_text()
    assert "dtype: int64" not in text
    assert "isodatetime" not in text
    assert "name: object_id\n" not in text


def test_every_type_is_exported_with_a_mock_constructor():
    import ndx_population_dynamics as ndx
    from ndx_population_dynamics.testing import mock

    names = {spec.neurodata_type_def for spec in runpy.run_path(str(SCRIPT))["TYPES"]}
    assert set(ndx.__all__) == names
    assert set(mock.__all__) == {f"mock_{name}" for name in names}


def test_specification_package_record_and_changelog_state_one_version():
    version = runpy.run_path(str(SCRIPT))["VERSION"]
    project = tomllib.loads((EXTENSION / "pyproject.toml").read_text())["project"]
    record = yaml.safe_load((EXTENSION / "ndx-meta.yaml").read_text())
    assert (project["name"], record["name"]) == ("ndx-population-dynamics",) * 2
    assert (project["version"], record["version"]) == (version, version)
    assert project["license"] == record["license"]
    assert f"\n## {version}\n" in (EXTENSION / "CHANGELOG.md").read_text()


def test_the_readme_explains_every_type_and_draws_it():
    readme = (EXTENSION / "README.md").read_text()
    diagram = readme.split("```mermaid")[1].split("```")[0]
    for spec in runpy.run_path(str(SCRIPT))["TYPES"]:
        name, parent = spec.neurodata_type_def, spec.neurodata_type_inc
        assert f"| `{name}` | `{parent}` |" in readme
        assert f"{parent} <|-- {name}\n" in diagram


@pytest.mark.parametrize("installed", [True, False])
def test_the_package_finds_its_specification_installed_and_in_the_source_tree(installed, tmp_path):
    folder = EXTENSION / "src" / "pynwb"
    if installed:  # as the wheel lays it out
        package = tmp_path / "ndx_population_dynamics"
        shutil.copytree(folder / package.name, package)
        shutil.copytree(EXTENSION / "spec", package / "spec")
        folder = tmp_path
    program = f"""
import sys
sys.path = [{str(folder)!r}, *sys.path, {str(Path(pynwb.__file__).parents[1])!r}]
import ndx_population_dynamics
print(ndx_population_dynamics.__file__, ndx_population_dynamics.ModelRun.__name__)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    where, name = done.stdout.split()
    assert Path(where).is_relative_to(folder)
    assert name == "ModelRun"
