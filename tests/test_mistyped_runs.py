"""Values of the wrong kind in the files of a run: used as they are, or refused in one line."""

import json
import random
import shutil
from pathlib import Path

import pytest
from small_fits import imaging

import nwbdyn
from nwbdyn.cli import fit_document
from nwbdyn.errors import NwbdynError
from nwbdyn.report import page
from nwbdyn.workflows.export import export

WRONG = (None, 5, -1.5, True, "text", [1, "a"], {"k": [1]})
FILES = ("config.json", "provenance.json", "metrics.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with edges and a null."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    nwbdyn.fit(imaging(), "netformer", null="shift:3", run=folder)
    return folder


def places(value, path=()):
    """The way to every value of a JSON document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value[:2])
        for key, item in items:
            yield from places(item, (*path, key))


def mistyped(run: Path, folder: Path, name: str, location: tuple, value: object) -> Path:
    """A copy of the run with one value of a file replaced."""
    shutil.copytree(run, folder)
    document = part = json.loads((folder / name).read_text())
    for key in location[:-1]:
        part = part[key]
    part[location[-1]] = value
    (folder / name).write_text(json.dumps(document))
    return folder


def look(folder: Path) -> list[str]:
    """Use a run in every way; what each was refused with."""
    try:
        fit = nwbdyn.load(folder)
    except NwbdynError as error:
        return [str(error)]
    refused = []
    for use in (
        lambda: export(folder, folder / "out.nwb"),
        lambda: page.write(fit, folder / "page.html"),
        lambda: fit.summary(),
        lambda: repr(fit) + fit._repr_html_(),
        lambda: fit_document.of_fit(folder),
        lambda: fit.request,
    ):
        try:
            use()
        except NwbdynError as error:
            refused.append(str(error))
    return refused


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # NaN in a figure's limits
@pytest.mark.parametrize(
    ("first", "number"), [(0, 8), pytest.param(8, 112, marks=pytest.mark.slow)]
)
def test_a_value_of_the_wrong_kind_is_used_or_refused_in_one_line(run, tmp_path, first, number):
    changes = [
        (name, location, value)
        for name in FILES
        for location in places(json.loads((run / name).read_text()))
        for value in WRONG
    ]
    random.Random(0).shuffle(changes)
    refused = []
    for index, change in enumerate(changes[first : first + number]):
        refused += look(mistyped(run, tmp_path / str(index), *change))
    assert refused
    assert all("\n" not in line for line in refused)


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("provenance.json", ("environment", "fitted_at")),
        ("config.json", ("binning", "series_path")),
        ("metrics.json", ("intervals", "model", "test", "r2")),
        ("metrics.json", ("ladder", "own_part", "mean")),
    ],
)
def test_a_table_where_one_value_belongs_is_refused(run, tmp_path, name, location):
    (line, *_) = look(mistyped(run, tmp_path / "run", name, location, {"k": [1]}))
    assert "wrong kind" in line or "damaged" in line
