"""The page of measurements: every number is looked up in benchmarks/results."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEASURED = runpy.run_path(str(ROOT / "docs" / "make_measured.py"))
Cell, value = MEASURED["Cell"], MEASURED["value"]


def test_the_page_is_made_of_the_results():
    assert (ROOT / "docs" / "measured.md").read_text("utf-8") == MEASURED["page"]()


def test_a_number_is_that_of_its_row_and_column():
    cell = Cell("stndt_spikes_chaotic", ("Poisson GLM",), "co-bps test")
    text = (ROOT / "benchmarks" / "results" / "stndt_spikes_chaotic.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| Poisson GLM |"))
    assert value(cell) == row.split("|")[3].strip()


def test_bold_rows_and_columns_with_bars_are_read():
    mean = Cell("stndt_lorenz", ("with contrast, mean ± sd of 3",), "co-bps")
    assert value(mean).startswith("0.35")
    assert value(Cell("worms", ("combined (Fisher)",), "correlation")).startswith("p ")


@pytest.mark.parametrize(
    "cell",
    [
        Cell("stndt_lorenz", ("no such fit",), "co-bps"),
        Cell("stndt_lorenz", ("Poisson GLM",), "no such column"),
    ],
)
def test_what_no_result_page_has_is_an_error(cell):
    with pytest.raises(LookupError, match="stndt_lorenz has no row"):
        value(cell)


def test_a_simple_method_that_scores_higher_is_bold():
    (lower,) = [row for row in MEASURED["of_models"]() if "[toy system, tanh, constant]" in row]
    assert "| **least squares " in lower
    (higher,) = [row for row in MEASURED["of_models"]() if "[chaotic network" in row]
    assert "| Poisson GLM " in higher
