"""Who may import whom, and what start-up loads."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import nwbdyn

PACKAGE = Path(nwbdyn.__file__).parent
HEAVY = {"torch", "pynwb", "hdmf", "h5py", "dandi", "pandas", "scipy", "sklearn", "matplotlib"}

# Each room may import only from the rooms above it in this list, inside functions too.
LAYERS = (
    "spelling",
    "errors",
    "progress",
    "version",
    "printable",
    "readable",
    "progress_bars",
    "scratch",
    "inside",
    "request",
    "optional",
    "cache",
    "pynwb_view",
    "recording",
    "disclosure",
    "metrics",
    "models",
    "data",
    "nlb",
    "connectivity",
    "simulate",
    "streaming",
    "archive",
    "baselines",
    "results",
    "nwb.zarr",
    "nwb.read",
    "nwb.slim",
    "nwb.results",
    "opening",
    "recording_tensors",
    "training",
    "inference",
    "evaluation",
    "statistics",
    "fitting",
    "workflows",
    "report",
    "cli",
    "__main__",
)
# What a room may import from elsewhere when it is imported itself. Rooms that are not listed import
# nothing but the standard library and nwbdyn.
THIRD_PARTY = {
    "inside": {"h5py"},
    "recording": {"numpy", "pandas"},
    "metrics": {"numpy", "pandas", "scipy"},
    "models": {"torch"},
    "data": {"numpy", "pandas", "torch", "xarray"},
    "nlb": {"h5py", "numpy", "pandas", "scipy"},
    "connectivity": {"numpy", "pandas", "xarray"},
    "simulate": {"h5py", "hdmf", "numpy", "pandas", "pynwb", "scipy"},
    "recording_tensors": {"numpy"},
    "streaming": {"requests", "urllib3"},
    "cache": {"platformdirs"},
    "baselines": {"numpy", "scipy", "sklearn"},
    "results": {"h5py", "numpy", "pandas"},
    "nwb.zarr": {"numcodecs", "numpy", "requests", "urllib3", "zarr"},
    "nwb.read": {"h5py", "numpy", "pandas", "xarray"},
    "nwb.slim": {"h5py", "numpy"},
    "nwb.results": {
        "h5py",
        "hdmf",
        "ndx_population_dynamics",
        "numpy",
        "pandas",
        "pynwb",
        "xarray",
    },
    "training": {"numpy", "torch"},
    "inference": {"numpy", "pandas", "torch"},
    "evaluation": {"numpy", "pandas", "scipy", "torch"},
    "statistics": {"numpy", "pandas", "scipy"},
    "fitting": {"numpy", "pandas", "ruamel", "torch"},
    "workflows": {"h5py", "numpy", "pandas", "pynwb", "torch"},
    "report": {"jinja2", "matplotlib", "numpy", "pandas", "scipy", "xarray"},
    "cli": {"click"},
}


def module_of(path: Path) -> str:
    """The module's name without `nwbdyn.`: "fitting.task"; "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The entry of LAYERS that a module belongs to."""
    parts = module.split(".")
    names = (".".join(parts[:2]), parts[0])
    return next((name for name in names if name in LAYERS), None)


@cache
def imports_of(path: Path) -> set[str]:
    """Modules of nwbdyn that a file imports anywhere, in functions and for type checkers too."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {name.removeprefix("nwbdyn.") for name in modules if name.startswith("nwbdyn.")}
    return {next((m for m in (name, name.rpartition(".")[0]) if m in KNOWN), "") for name in own}


def imports_at_top(path: Path) -> set[str]:
    """Modules that an import of this file imports; TYPE_CHECKING blocks do not count."""
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
KNOWN = {module_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(path):
    module = module_of(path)
    if not module or path.read_text("utf-8").strip() == "" or module == "nwb":
        return
    room = room_of(module)
    assert room is not None, f"{module} is in no room: add its room to LAYERS and to the README"
    for imported in imports_of(path):
        above = room_of(imported)
        assert above is not None, f"{module} imports {imported or 'nwbdyn'}, which is in no room"
        assert LAYERS.index(above) <= LAYERS.index(room), f"{module} imports {imported}: upwards"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_packages_that_it_may(path):
    room = room_of(module_of(path)) or ""
    for name in imports_at_top(path):
        first = name.partition(".")[0]
        if first != "nwbdyn" and first not in sys.stdlib_module_names:
            assert first in THIRD_PARTY.get(room, set()), f"{path.name} imports {name}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module_of(path): imports_of(path) - {""} for path in FILES}
    while leaves := [module for module, imports in graph.items() if not imports & set(graph)]:
        for module in leaves:
            del graph[module]
    assert not graph, f"each of these is part of a circle or imports one: {sorted(graph)}"


def test_a_model_knows_nothing_but_tensors():
    for path in (PACKAGE / "models").glob("*.py"):
        assert not imports_at_top(path) & {
            "nwbdyn.recording",
            "nwbdyn.results.fit_results",
            "nwbdyn.nwb",
        }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["fit", "--help"],
        ["export", "--help"],
        ["find", "--help"],
        ["notebook", "--help"],
    ],
)
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
        "Tensors",
        "export",
        "fit",
        "fit_joint",
        "lesion",
        "load",
        "open",
        "open_results",
        "reproduce",
        "sweep",
        "tensors",
        "validate",
    ]
    assert all(getattr(nwbdyn, name) is not None for name in nwbdyn.__all__)
