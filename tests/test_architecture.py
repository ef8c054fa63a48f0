"""Who may import whom, and what start-up loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nwbdyn

PACKAGE = Path(nwbdyn.__file__).parent
HEAVY = {"torch", "pynwb", "hdmf", "h5py", "dandi", "pandas", "scipy", "sklearn", "matplotlib"}

# room -> what it may import at module level, from nwbdyn and from elsewhere
WORDS = {"errors", "progress"}
RECORDING = WORDS | {"recording"}
DATA = {"binning", "nlb", "splits", "windows"}
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "progress": (set(), set()),
    "recording": (WORDS, {"numpy", "pandas"}),
    "metrics": (WORDS, {"numpy", "pandas", "scipy"}),
    "clock": (set(), {"numpy"}),
    "trials": (RECORDING, {"numpy", "pandas"}),
    "events": (RECORDING | {"clock", "trials"}, {"numpy", "pandas"}),
    "covariates": (RECORDING | {"clock", "events", "trials"}, {"numpy"}),
    "large": (RECORDING | {"cache"}, {"numpy"}),
    "binning": (RECORDING | {"clock", "covariates", "large"}, {"numpy", "pandas", "xarray"}),
    "nlb": (RECORDING | {"clock", "binning", "metrics"}, {"numpy", "pandas", "scipy", "h5py"}),
    "splits": (RECORDING | {"clock", "binning", "nlb"}, {"numpy", "pandas"}),
    "optional": (WORDS, set()),
    "forms": (RECORDING, {"numpy"}),
    "connectivity": (RECORDING | {"forms", "optional"}, {"numpy", "pandas", "xarray"}),
    "results": (
        RECORDING | {"optional", "connectivity", "splits", "run_directory"},
        {"numpy", "pandas"},
    ),
    "run_directory": (WORDS, set()),
    "results_file": (set(), {"numpy", "pandas", "h5py"}),
    "simulate": (RECORDING | {"metrics", "simulate"}, {"numpy", "pandas", "scipy"}),
    "archive": (RECORDING, set()),
    "streaming": (RECORDING | {"archive", "cache"}, {"requests", "urllib3"}),
    "cache": (RECORDING, {"platformdirs"}),
    "opening": (RECORDING | {"archive", "streaming", "nwb", "selection"}, set()),
    "slim": (
        RECORDING | {"__version__", "archive", "nwb", "opening", "run_directory", "streaming"},
        {"numpy", "h5py"},
    ),
    "zarr": (RECORDING | {"archive", "streaming"}, {"numpy", "numcodecs", "requests", "urllib3"}),
    "nwb": (
        RECORDING
        | {
            "cache",
            "clock",
            "connectivity",
            "nwb",
            "results",
            "run_directory",
            "simulate",
            "splits",
            "zarr",
        },
        {"numpy", "pandas", "xarray", "h5py", "pynwb", "hdmf", "ndx_population_dynamics"},
    ),
    "models": ({"models", "errors"}, {"torch"}),
    "windows": (RECORDING | {"binning", "splits", "models"}, {"numpy", "torch"}),
    "baselines": (
        RECORDING | {"binning", "splits", "metrics"},
        {"numpy", "scipy", "sklearn"},
    ),
    "blocks": (RECORDING | {"binning", "splits", "metrics"}, {"numpy"}),
    "states": (RECORDING, {"numpy", "pandas"}),
    "surrogates": (RECORDING | {"binning", "splits"}, {"numpy", "pandas"}),
    "significance": (RECORDING | {"verdict"}, {"numpy", "pandas"}),
    "groups": (RECORDING | {"results", "significance"}, {"numpy", "pandas"}),
    "artefacts": (RECORDING, {"numpy", "pandas"}),
    "evaluation": (
        RECORDING | {"binning", "splits", "metrics", "baselines"},
        {"numpy", "pandas"},
    ),
    "held_out": (
        {"baselines", "evaluation", "metrics", "windows"},
        {"numpy"},
    ),
    "averaging": ({"evaluation"}, {"numpy"}),
    "importance": (
        {"evaluation", "models", "readout", "windows"},
        {"numpy", "torch"},
    ),
    "rollout": ({"models", "recording", "splits", "windows"}, {"numpy", "torch"}),
    "provenance": ({"__version__"}, set()),
    "adopting": (WORDS | {"run_directory"}, {"torch"}),
    "validating": (
        RECORDING | {"baselines", "binning", "metrics", "results", "splits"},
        {"numpy", "pandas"},
    ),
    "pooling": ({"models", "windows"}, {"numpy", "torch"}),
    "problem": (RECORDING | DATA | {"adopting", "models", "trials"}, {"numpy", "pandas", "torch"}),
    "identity": (WORDS | {"problem"}, {"numpy", "pandas"}),
    "distributed": (WORDS | {"models", "optional"}, {"numpy", "torch"}),
    "checkpoint": ({"errors", "run_directory"}, {"torch"}),
    "validation_loss": ({"models", "pooling", "windows"}, {"torch"}),
    "training": (
        WORDS
        | {"checkpoint", "distributed", "models", "pooling", "run_directory"}
        | {"validation_loss", "windows"},
        {"torch"},
    ),
    "stack": (WORDS | {"models", "training", "validation_loss", "windows"}, {"torch"}),
    "readout": (
        RECORDING | {"connectivity", "models", "splits", "windows"},
        {"numpy", "pandas", "torch"},
    ),
    "cost": (RECORDING | {"models", "problem", "training"}, {"numpy", "torch"}),
    "scaling": (RECORDING | {"run_directory"}, set()),
    "space": (WORDS, {"numpy"}),
    "verdict": (set(), set()),
    "sharing": (RECORDING | {"archive"}, set()),
    "selection": (RECORDING, {"numpy", "pandas"}),
}
ANYTHING = {
    "cli",
    "report",
    "comparing",
    "fitting",
    "joint",
    "members",
    "repeats",
    "summary",
    "benchmark",
    "submitting",
    "cluster",
    "sweeping",
    "ensembles",
    "refits",
    "identifiability",
    "state_null",
    "reproducing",
    "restoring",
    "__init__",
    "__main__",
}


def room_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports_at_top(path: Path) -> set[str]:
    """What importing this file imports; a TYPE_CHECKING block is not run, so not counted."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "nwbdyn":
                names |= {f"nwbdyn.{alias.name}" for alias in node.names}
            else:
                names.add(module)
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_design_allows(path):
    room = room_of(path)
    if room in ANYTHING:
        return
    assert room in ROOMS, f"room {room!r} is not in the table: add it there and to the README"
    own, third_party = ROOMS[room]
    for name in imports_at_top(path):
        first, _, rest = name.partition(".")
        if first == "nwbdyn":
            assert not rest or rest.split(".")[0] in own | {room}, f"{path.name} imports {name}"
        elif first not in sys.stdlib_module_names:
            assert first in third_party, f"{path.name} imports {name}"


def test_a_model_knows_nothing_but_tensors():
    for path in (PACKAGE / "models").glob("*.py"):
        assert not imports_at_top(path) & {"nwbdyn.recording", "nwbdyn.results", "nwbdyn.nwb"}


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["export", "--help"]])
def test_start_up_is_light(arguments):
    program = (
        "import sys\n"
        "from nwbdyn.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_public_names_are_exactly_these():
    assert sorted(nwbdyn.__all__) == [
        "Connectivity",
        "Fit",
        "Predictions",
        "Recording",
        "Source",
        "export",
        "fit",
        "fit_joint",
        "lesion",
        "load",
        "open",
        "open_results",
        "reproduce",
        "sweep",
        "validate",
    ]
    assert all(getattr(nwbdyn, name) is not None for name in nwbdyn.__all__)
