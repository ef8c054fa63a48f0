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
DATA = {"tensors.binning", "nlb", "tensors.splits", "tensors.windows"}
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "progress": (set(), set()),
    "recording": (WORDS, {"numpy", "pandas"}),
    "metrics": (WORDS, {"numpy", "pandas", "scipy"}),
    "tensors.clock": (set(), {"numpy"}),
    "tensors.trials": (RECORDING, {"numpy", "pandas"}),
    "tensors.events": (RECORDING | {"tensors.clock", "tensors.trials"}, {"numpy", "pandas"}),
    "tensors.covariates": (
        RECORDING | {"tensors.clock", "tensors.events", "tensors.trials"},
        {"numpy"},
    ),
    "tensors.large": (RECORDING | {"cache"}, {"numpy"}),
    "tensors.binning": (
        RECORDING | {"tensors.clock", "tensors.covariates", "tensors.large"},
        {"numpy", "pandas", "xarray"},
    ),
    "nlb": (
        RECORDING | {"tensors.clock", "tensors.binning", "metrics"},
        {"numpy", "pandas", "scipy", "h5py"},
    ),
    "tensors.splits": (
        RECORDING | {"tensors.clock", "tensors.binning", "nlb"},
        {"numpy", "pandas"},
    ),
    "optional": (WORDS, set()),
    "forms": (RECORDING, {"numpy"}),
    "contributions": (RECORDING | {"forms"}, {"numpy"}),
    "connectivity": (
        RECORDING | {"contributions", "forms", "optional"},
        {"numpy", "pandas", "xarray"},
    ),
    "runs.results": (
        RECORDING
        | {"optional", "connectivity", "tensors.splits", "runs.lock", "runs.run_directory"},
        {"numpy", "pandas"},
    ),
    "runs.asking": (set(), set()),
    "runs.run_directory": (WORDS | {"runs.asking"}, set()),
    "runs.lock": (WORDS | {"runs.run_directory"}, set()),
    "runs.results_file": ({"runs.run_directory"}, {"numpy", "pandas", "h5py"}),
    "simulate": (RECORDING | {"metrics", "simulate"}, {"numpy", "pandas", "scipy"}),
    "archive": (RECORDING, set()),
    "streaming": (RECORDING | {"archive", "cache"}, {"requests", "urllib3"}),
    "cache": (RECORDING, {"platformdirs"}),
    "opening": (RECORDING | {"archive", "streaming", "nwb", "selection"}, set()),
    "slim": (
        RECORDING | {"__version__", "archive", "nwb", "opening", "runs.run_directory", "streaming"},
        {"numpy", "h5py"},
    ),
    "zarr": (RECORDING | {"archive", "streaming"}, {"numpy", "numcodecs", "requests", "urllib3"}),
    "nwb": (
        RECORDING
        | {
            "cache",
            "tensors.clock",
            "connectivity",
            "nwb",
            "runs.results",
            "runs.run_directory",
            "simulate",
            "tensors.splits",
            "zarr",
        },
        {"numpy", "pandas", "xarray", "h5py", "pynwb", "hdmf", "ndx_population_dynamics"},
    ),
    "models": ({"models", "errors"}, {"torch"}),
    "tensors.windows": (
        RECORDING | {"tensors.binning", "tensors.splits", "models"},
        {"numpy", "torch"},
    ),
    "baselines": (
        RECORDING | {"tensors.binning", "tensors.splits", "metrics"},
        {"numpy", "scipy", "sklearn"},
    ),
    "scoring.blocks": (RECORDING | {"tensors.binning", "tensors.splits", "metrics"}, {"numpy"}),
    "trust.states": (RECORDING, {"numpy", "pandas"}),
    "trust.jitter": (RECORDING, {"numpy"}),
    "trust.surrogates": (
        RECORDING | {"tensors.binning", "tensors.splits", "trust.jitter"},
        {"numpy", "pandas"},
    ),
    "trust.fine_counts": (RECORDING | {"tensors.clock"}, {"numpy"}),
    "trust.coupling_filters": ({"trust.fine_counts"}, {"numpy"}),
    "trust.time_scale": ({"trust.coupling_filters", "trust.fine_counts"}, {"numpy"}),
    "trust.spike_couplings": (
        RECORDING
        | {
            "trust.coupling_filters",
            "trust.fine_counts",
            "trust.jitter",
            "trust.significance",
            "trust.time_scale",
        },
        {"numpy", "scipy"},
    ),
    "trust.lagged": (WORDS | {"trust.significance"}, {"numpy", "scipy"}),
    "trust.state_change": (WORDS | {"trust.significance"}, {"numpy", "scipy"}),
    "trust.frame_signals": (set(), {"numpy"}),
    "trust.simultaneous": (
        WORDS | {"trust.frame_signals", "trust.significance"},
        {"numpy", "scipy"},
    ),
    "trust.significance": (RECORDING | {"scoring.verdict"}, {"numpy", "pandas"}),
    "trust.groups": (RECORDING | {"runs.results", "trust.significance"}, {"numpy", "pandas"}),
    "trust.artefacts": (RECORDING, {"numpy", "pandas"}),
    "scoring.evaluation": (
        RECORDING | {"tensors.binning", "tensors.splits", "metrics", "baselines"},
        {"numpy", "pandas"},
    ),
    "scoring.agreement": ({"connectivity", "metrics"}, {"numpy"}),
    "scoring.draws": ({"baselines", "scoring.evaluation", "metrics"}, {"numpy"}),
    "scoring.held_out": (
        {"baselines", "scoring.evaluation", "metrics", "tensors.windows"},
        {"numpy"},
    ),
    "scoring.averaging": ({"scoring.evaluation"}, {"numpy"}),
    "scoring.importance": (
        {"scoring.evaluation", "models", "learning.readout", "tensors.windows"},
        {"numpy", "torch"},
    ),
    "scoring.rollout": (
        {"models", "recording", "tensors.splits", "tensors.windows"},
        {"numpy", "torch"},
    ),
    "runs.provenance": ({"__version__"}, set()),
    "learning.adopting": (WORDS | {"runs.run_directory"}, {"torch"}),
    "scoring.validating": (
        RECORDING | {"baselines", "tensors.binning", "metrics", "runs.results", "tensors.splits"},
        {"numpy", "pandas"},
    ),
    "tensors.pooling": ({"models", "tensors.windows"}, {"numpy", "torch"}),
    "learning.problem": (
        RECORDING | DATA | {"learning.adopting", "models", "tensors.trials"},
        {"numpy", "pandas", "torch"},
    ),
    "many.identity": (WORDS | {"learning.problem"}, {"numpy", "pandas"}),
    "learning.distributed": (WORDS | {"models", "optional"}, {"numpy", "torch"}),
    "learning.memory": (set(), {"torch"}),
    "learning.checkpoint": ({"errors", "runs.run_directory"}, {"torch"}),
    "learning.validation_loss": ({"models", "tensors.pooling", "tensors.windows"}, {"torch"}),
    "learning.training": (
        WORDS
        | {
            "learning.checkpoint",
            "learning.distributed",
            "learning.memory",
            "models",
            "tensors.pooling",
            "runs.run_directory",
        }
        | {"learning.validation_loss", "tensors.windows"},
        {"torch"},
    ),
    "learning.stack": (
        WORDS | {"models", "learning.training", "learning.validation_loss", "tensors.windows"},
        {"torch"},
    ),
    "learning.readout": (
        RECORDING | {"connectivity", "models", "tensors.splits", "tensors.windows"},
        {"numpy", "pandas", "torch"},
    ),
    "learning.influence": (
        RECORDING | {"connectivity", "models", "tensors.splits", "tensors.windows"},
        {"numpy", "torch"},
    ),
    "learning.cost": (
        RECORDING | {"models", "learning.problem", "learning.training"},
        {"numpy", "torch"},
    ),
    "many.scaling": (RECORDING | {"runs.lock", "runs.run_directory"}, set()),
    "many.space": (WORDS, {"numpy"}),
    "scoring.verdict": (set(), set()),
    "runs.sharing": (RECORDING | {"archive"}, set()),
    "selection": (RECORDING, {"numpy", "pandas"}),
}
ANYTHING = {
    "cli",
    "report",
    "learning.comparing",
    "fitting",
    "many.joint",
    "many.sessions",
    "learning.members",
    "learning.repeats",
    "scoring.summary",
    "nlb.benchmark",
    "nlb.submitting",
    "many.cluster",
    "many.sweeping",
    "learning.ensembles",
    "trust.questions",
    "trust.refits",
    "trust.resampled",
    "trust.identifiability",
    "trust.state_null",
    "runs.reproducing",
    "runs.restoring",
    "__init__",
    "__main__",
}


def room_of(path: Path) -> str:
    """The file's room in the table; a folder without rows for its files is one room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = ".".join(parts[:2])
    return own if own in ROOMS or own in ANYTHING else parts[0]


def imports_at_top(path: Path) -> set[str]:
    """What importing this file imports; a TYPE_CHECKING block is not run, so not counted."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            own = module.partition(".")[0] == "nwbdyn"
            names |= {f"{module}.{alias.name}" for alias in node.names} if own else {module}
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_design_allows(path):
    room = room_of(path)
    if room in ANYTHING or (path.name == "__init__.py" and not imports_at_top(path)):
        return
    assert room in ROOMS, f"room {room!r} is not in the table: add it there and to the README"
    own, third_party = ROOMS[room]
    for name in imports_at_top(path):
        first, _, rest = name.partition(".")
        if first == "nwbdyn":
            parts = rest.split(".")
            known = {parts[0], ".".join(parts[:2])}
            assert not rest or known & (own | {room}), f"{path.name} imports {name}"
        elif first not in sys.stdlib_module_names:
            assert first in third_party, f"{path.name} imports {name}"


def test_a_model_knows_nothing_but_tensors():
    for path in (PACKAGE / "models").glob("*.py"):
        assert not imports_at_top(path) & {
            "nwbdyn.recording",
            "nwbdyn.results.fit_results",
            "nwbdyn.nwb",
        }


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
