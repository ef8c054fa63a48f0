"""The committed specification is the one that the script writes."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pynwb
import pytest
import yaml
from specification import EXTENSION, SCRIPT, generator

NEVER_INVENTED = {"src", "pip", "maintainers"}  # of the catalog's record: publication gives them


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
    for path in written.glob("*.yaml"):
        text = path.read_text()
        assert "dtype: int64" not in text
        assert "isodatetime" not in text
        assert "name: object_id\n" not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # hdmf's own use of jsonschema
def test_the_specification_obeys_nwbs_schema_language(written):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(
        (Path(pynwb.__file__).parent / "nwb-schema" / "nwb.schema.json").read_text()
    )
    types = {**schema, **schema.get("definitions", {})}
    assert types
    for path in written.glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        errors = list(jsonschema.Draft7Validator(schema).iter_errors(content))
        missing = [error.message for error in errors]
        # Who answers for the extension is known when it is published, and is left out until then.
        allowed = {"'contact' is a required property"} if "namespaces" in content else set()
        assert set(missing) == allowed, path.name


def test_every_type_is_exported_with_a_mock_constructor():
    import ndx_population_dynamics as ndx
    from ndx_population_dynamics.testing import mock

    names = {spec.neurodata_type_def for spec in generator().TYPES}
    assert set(ndx.__all__) == names
    assert set(mock.__all__) - {"mock_components"} == {f"mock_{name}" for name in names}


def test_every_object_can_be_described():
    parents = {spec.neurodata_type_def: spec for spec in generator().TYPES}
    described = {"DynamicTable", "TimeSeries"}  # have a description in core NWB
    for spec in generator().TYPES:
        chain, names = spec, set()
        while chain is not None and chain.neurodata_type_inc not in described:
            names |= {attribute.name for attribute in chain.attributes}
            chain = parents.get(chain.neurodata_type_inc)
        assert chain is not None or "description" in names, spec.neurodata_type_def


def test_names_follow_nwbs_practice():
    kinds = {"DynamicTable": "Table", "TimeSeries": "Series"}
    for spec in generator().TYPES:
        suffix = kinds.get(spec.neurodata_type_inc, "")
        assert spec.neurodata_type_def.endswith(suffix)
        for item in (*spec.attributes, *spec.datasets, *spec.groups, *spec.links):
            name = item.get("name")
            assert name is None or name == name.lower(), f"{spec.neurodata_type_def}.{name}"


def test_specification_package_record_and_changelog_state_one_version():
    version = generator().VERSION
    project = tomllib.loads((EXTENSION / "pyproject.toml").read_text())["project"]
    record = yaml.safe_load((EXTENSION / "ndx-meta.yaml").read_text())
    assert (project["name"], record["name"]) == ("ndx-population-dynamics",) * 2
    assert (project["version"], record["version"]) == (version, version)
    assert project["license"] == record["license"]
    assert f"\n## {version}\n" in (EXTENSION / "CHANGELOG.md").read_text()


def test_the_record_leaves_out_only_what_publication_gives_and_the_readme_lists_it():
    record = yaml.safe_load((EXTENSION / "ndx-meta.yaml").read_text())
    assert set(record) == {"name", "version", "license", "summary", "keywords"}
    readme = (EXTENSION / "README.md").read_text()
    publishing = readme.split("## Before it is published")[1]
    for field in (*NEVER_INVENTED, "contact", "DOI"):
        assert f"`{field}`" in publishing, field


def test_the_readme_explains_every_type_and_draws_it():
    readme = (EXTENSION / "README.md").read_text()
    diagram = readme.split("```mermaid")[1].split("```")[0]
    for spec in generator().TYPES:
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
