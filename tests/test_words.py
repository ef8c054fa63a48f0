"""Words of the field: names and first lines that a reader would search for."""

import ast
import re
from pathlib import Path

import pytest

import nwbdyn

ROOT = Path(nwbdyn.__file__).parents[1]
ROOMS = ("nwbdyn", "extensions", "tests", "benchmarks", "tutorials", "docs")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
BANNED = {"asked", "found", "heard", "place", "pose", "posed", "rival", "rivals", "said", "told"}
IN_LINES = BANNED - {"place"}  # "in place of"
STARTS = {"What", "Whether", "Where", "That"}


def identifiers(tree: ast.AST) -> set[str]:
    """Every name, attribute, function, class, argument and keyword of a file; no test's name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str) and not value.startswith("test_"):
                names.add(value)
    return names


def first_lines(tree: ast.AST) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return [text.splitlines()[0] for text in texts if text]


def faults(source: str) -> list[str]:
    tree = ast.parse(source)
    names = [n for n in sorted(identifiers(tree)) if BANNED & set(re.split(r"[_.]", n.lower()))]
    lines = [
        line
        for line in first_lines(tree)
        if IN_LINES & set(re.findall("[a-z]+", line.lower())) or line.split()[0] in STARTS
    ]
    return names + lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_first_lines_are_words_of_the_field(path):
    assert faults(path.read_text(encoding="utf-8")) == []


def test_banned_words_are_noticed_wherever_they_stand():
    source = 'def f(told):\n    """What it says."""\n    self.rivals_of = found = g(asked=told)\n'
    assert faults(source) == ["asked", "found", "rivals_of", "told", "What it says."]
