"""The table of deliberate mistakes: each still applies, and no decision is without one."""

import ast
from pathlib import Path

import pytest
from mutants import run as mutants

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = mutants.read()
PACKAGE = ROOT / "nwbdyn"
ROOMS = (
    "statistics",
    "evaluation",
    "baselines",
    "fitting/stages",
    "results/sections",
)  # that decide, whole
DECIDING = [
    path
    for path in (
        *(one for room in ROOMS for one in sorted((PACKAGE / room).rglob("*.py"))),
        *(PACKAGE / "data" / name for name in ("normalisation.py", "splits.py", "windows.py")),
    )
    if path.name not in ("__init__.py", "baseline.py")
    and path != PACKAGE / "results" / "sections" / "benchmark.py"  # values without a decision
]
EVERY_FUNCTION = ("statistics", "evaluation", "stages", "baselines")  # folders


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: f"{one.file}: {one.mistake}")
def test_a_mutant_applies_and_is_valid_python(mutant):
    assert mutants.problem_of(mutant) == ""
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")
    for word in mutant.tests.partition(" -k ")[0].split():
        file, _, test = word.partition("::")
        assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8"), word


def test_a_text_that_is_gone_or_stands_twice_does_not_apply():
    mutant = MUTANTS[0]
    for old, problem in (("no such text", "occurs 0 times"), ("import", "not once")):
        changed = mutants.Mutant(mutant.file, "made up", old, "", mutant.tests, "")
        assert problem in mutants.problem_of(changed)


def test_mutants_are_many_and_few_may_survive():
    assert len(MUTANTS) >= 80
    reasons = [mutant.survives for mutant in MUTANTS if mutant.survives]
    assert len(reasons) <= mutants.MOST_SURVIVORS * len(MUTANTS)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


def lines_of(mutant) -> range:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    first = text[: text.index(mutant.old)].count("\n") + 1
    return range(first, first + mutant.old.rstrip("\n").count("\n") + 1)


def public_functions(path: Path) -> list[tuple[str, range]]:
    """Names and lines of the public functions, and of the public methods of public classes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    actual = []
    for node in tree.body:
        body = node.body if isinstance(node, ast.ClassDef) else [node]
        if isinstance(node, ast.ClassDef) and node.name.startswith("_"):
            continue
        for one in body:
            if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"):
                actual.append((one.name, range(one.lineno, one.end_lineno + 1)))
    return actual


@pytest.mark.parametrize(
    "path",
    [path for path in DECIDING if path.parent.name in EVERY_FUNCTION],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_every_public_function_that_decides_has_a_mutant(path):
    file = str(path.relative_to(ROOT))
    changed = [lines_of(mutant) for mutant in MUTANTS if mutant.file == file]
    for name, lines in public_functions(path):
        assert any(set(lines) & set(one) for one in changed), f"{file}: {name}"


def test_every_file_that_decides_has_a_mutant():
    assert len(DECIDING) > 40
    files = {mutant.file for mutant in MUTANTS}
    for path in DECIDING:
        assert str(path.relative_to(ROOT)) in files
