"""The page on the file format says what the specification says and what is written."""

import re
import runpy
from pathlib import Path

import lab_files
import pytest
import yaml
from pynwb import NWBHDF5IO

from nwbdyn.inference.readout import MOST_NEURONS
from nwbdyn.nwb.results import storage
from nwbdyn.nwb.results.components import STORED
from nwbdyn.nwb.results.couplings import COURSE_BITS
from nwbdyn.nwb.results.courses import COURSE_SHARE, MOST_COURSES
from nwbdyn.nwb.results.dynamics import PREDICTION_BITS
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.workflows.export import export

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "format.md").read_text("utf-8")
SPEC = ROOT / "extensions/ndx-population-dynamics/spec/ndx-population-dynamics.extensions.yaml"
MAKE = runpy.run_path(str(ROOT / "docs" / "make_format.py"))
TYPES = yaml.safe_load(SPEC.read_text("utf-8"))["groups"]

Row = tuple[str, ...]  # name, kind, of, shape, "yes" where it may be absent, words


def rows(heading: str) -> list[Row]:
    """Cells of the first table under a heading of the page."""
    text = PAGE.split(f"{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n?)+", text, re.M).group().splitlines()[2:]
    return [tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")) for line in lines]


@pytest.mark.parametrize("spec", TYPES, ids=lambda spec: spec["neurodata_type_def"])
def test_every_field_of_every_type_is_on_the_page_as_it_is_specified(spec):
    heading = f"### {spec['neurodata_type_def']} ({spec['neurodata_type_inc']})"
    assert f"{heading}\n\n{spec['doc']}\n" in PAGE
    fields = MAKE["rows"](spec)
    if fields:
        assert rows(heading) == fields


def test_the_section_on_types_is_what_its_script_writes():
    assert PAGE.endswith(MAKE["section"](TYPES))


def test_the_page_has_no_type_that_is_not_specified():
    titles = re.findall(r"^### (\w+) \(", PAGE, re.M)
    assert titles == [spec["neurodata_type_def"] for spec in TYPES]


def test_what_is_written_is_what_the_page_lists(tmp_path):
    listed = {name: (type_, shape) for name, type_, shape, _ in rows("## Where things are")}
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"), form="gain")
    run = name_of(fit)
    axes = {"T": 60, "N": 5, "W": 57, "S": 57, "F": 20, "E": 20}
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb", dense=True), "r") as io:
        module = io.read().processing["population_dynamics"]
        actual = {name.replace(run, "<run>"): item for name, item in module.data_interfaces.items()}
        assert set(actual) == set(listed) - {"<run>_cell_type_pairs"}  # of fits with a null
        for name, item in actual.items():
            type_, shape = listed[name]
            assert type(item).__name__ == type_, name
            if shape.startswith("("):
                sizes = tuple(axes.get(axis, 4) for axis in shape.strip("()").split(", "))
                assert item.data.shape == sizes, name
            elif shape.endswith("rows"):
                assert len(item) == axes[shape[0]]


def test_the_numbers_on_the_page_are_those_of_the_code():
    page = " ".join(PAGE.split())
    assert f"{storage.CHUNK[0]} times by {storage.CHUNK[1]} columns" in page
    assert f"at most {MOST_COURSES} edges" in page
    assert f"at most {MOST_NEURONS:,} neurons" in page
    assert f"more than {100 * COURSE_SHARE:.0f} % of the activity" in page
    assert f"takes {storage.ROUNDED_FROM // 1024} kB or more" in page
    bits = dict(re.findall(r"^\| ([^|]+) \| 2\^-(\d+) \|", PAGE, re.M))
    gain, query_key = STORED["gain"].bits, STORED["netformer"].bits
    assert {name: int(number) for name, number in bits.items()} == {
        "predictions": PREDICTION_BITS,
        "activity and values of a QueryKeyConnectivity": query_key["activity"],
        "gain of a GainConnectivity": gain["g"],
        "activity of a GainConnectivity": gain["activity"],
        "time courses of edges": COURSE_BITS,
    }
