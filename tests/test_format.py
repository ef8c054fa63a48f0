"""The page on the file format says what the specification says and what is written."""

import re
from pathlib import Path

import lab_files
import pytest
import yaml
from pynwb import NWBHDF5IO

from nwbdyn.inference.readout import MOST_NEURONS
from nwbdyn.nwb.results import storage
from nwbdyn.nwb.results.couplings import SERIES_BYTES
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.workflows.export import export

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "format.md").read_text("utf-8")
SPEC = ROOT / "extensions/ndx-population-dynamics/spec/ndx-population-dynamics.extensions.yaml"
TYPES = yaml.safe_load(SPEC.read_text("utf-8"))["groups"]

Row = tuple[str, ...]  # name, kind, of, shape, "yes" where it may be absent, words


def rows(heading: str) -> list[Row]:
    """Cells of the first table under a heading of the page."""
    text = PAGE.split(f"{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n?)+", text, re.M).group().splitlines()[2:]
    return [tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")) for line in lines]


def stated(spec: dict) -> list[Row]:
    """The same rows, from the specification of a type."""
    kinds = {None: "dataset", "VectorData": "column", "DynamicTableRegion": "region"}
    found = []
    for item in spec.get("attributes", ()):
        absent = "" if item.get("required", True) else "yes"
        found.append((item["name"], "attribute", item["dtype"], "", absent, item["doc"]))
    for item in spec.get("datasets", ()):
        kind = kinds[item.get("neurodata_type_inc")]
        dims = item.get("dims", ())
        shape = f"({', '.join(dims)}{',' * (len(dims) == 1)})" if dims else ""
        of = "row" if kind == "region" else item.get("dtype", "any")
        absent = "yes" if item.get("quantity", 1) in ("?", "*") else ""
        found.append((item["name"], kind, of, shape, absent, item["doc"]))
    for kind, of in (("groups", "neurodata_type_inc"), ("links", "target_type")):
        for item in spec.get(kind, ()):
            absent = "yes" if item.get("quantity", 1) in ("?", "*") else ""
            name = item.get("name", "(any name)")
            found.append((name, kind.removesuffix("s"), item[of], "", absent, item["doc"]))
    return found


@pytest.mark.parametrize("spec", TYPES, ids=lambda spec: spec["neurodata_type_def"])
def test_every_field_of_every_type_is_on_the_page_as_it_is_specified(spec):
    heading = f"### {spec['neurodata_type_def']} ({spec['neurodata_type_inc']})"
    assert rows(heading) == stated(spec)
    assert f"{heading}\n\n{spec['doc']}\n" in PAGE


def test_the_page_has_no_type_that_is_not_specified():
    titles = re.findall(r"^### (\w+) \(", PAGE, re.M)
    assert titles == [spec["neurodata_type_def"] for spec in TYPES]


def test_what_is_written_is_what_the_page_lists(tmp_path):
    listed = {name: (type_, shape) for name, type_, shape, _ in rows("## Where things are")}
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"), form="gain")
    run, axes = name_of(fit), {"T": 60, "N": 5, "W": 57, "E": 20}
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb", dense=True), "r") as io:
        module = io.read().processing["population_dynamics"]
        found = {name.replace(run, "<run>"): item for name, item in module.data_interfaces.items()}
        assert set(found) == set(listed)
        for name, item in found.items():
            type_, shape = listed[name]
            assert type(item).__name__ == type_, name
            if shape.startswith("("):
                sizes = tuple(axes.get(axis, 4) for axis in shape.strip("()").split(", "))
                assert item.data.shape == sizes, name
            elif shape.endswith("rows"):
                assert len(item) == axes[shape[0]]


def test_the_numbers_on_the_page_are_those_of_the_code():
    assert f"{storage.CHUNK[0]} times by {storage.CHUNK[1]} columns" in PAGE.replace("\n  ", " ")
    assert f"at most {SERIES_BYTES // 10**6} MB" in PAGE
    assert f"at most {MOST_NEURONS:,} neurons" in PAGE
