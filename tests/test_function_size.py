"""Functions stay short and take few arguments; the list of exceptions may only shrink."""

import ast
from pathlib import Path

import nwbdyn

PACKAGE = Path(nwbdyn.__file__).parent
MOST_LINES = 60  # without the docstring
MOST_PARAMETERS = 8

# The keywords of a public function are its users' options.
PUBLIC = {
    "fitting/fit.py:fit",
    "workflows/joint.py:fit_joint",
    "opening.py:open",
    "recording_tensors.py:tensors",
    "workflows/export.py:export",
}
LONG = {
    "statistics/significance.py:edge_statistics": "63 lines: one per column of the table",
}
MANY_PARAMETERS = {
    "data/windows.py:__init__": "what windows are cut from",
    "models/_stndt_lean.py:forward": "arguments of a torch.autograd.Function",
    "nwb/results/dynamics.py:_time_resolved": "columns of one type of the extension",
    "training/trainer.py:__init__": "the arguments of `train`",
    "training/trainer.py:train": "model, data and run of one training",
}


def functions():
    """(name, lines without the docstring, number of parameters) of every function."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                given = node.args
                parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs]
                name = f"{path.relative_to(PACKAGE).as_posix()}:{node.name}"
                yield name, lines, len(parameters) + bool(given.vararg) + bool(given.kwarg)


def test_no_function_is_long():
    long = {name for name, lines, _ in functions() if lines > MOST_LINES} - PUBLIC
    assert long == set(LONG)  # of those that are listed, a shorter one leaves the list


def test_no_function_takes_many_arguments():
    many = {name for name, _, number in functions() if number > MOST_PARAMETERS}
    assert many == PUBLIC | set(MANY_PARAMETERS)


def test_the_counts_of_a_function_are_those_by_hand():
    counts = {name: counts for name, *counts in functions()}
    assert counts["errors.py:not_among"] == [2, 2]
    assert counts["fitting/fit.py:fit"][1] == 28
