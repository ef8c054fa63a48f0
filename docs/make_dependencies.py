"""Write docs/dependencies.md: size of every dependency, why it is needed, and when it is imported.

    python docs/make_dependencies.py [FILE.md]

Sizes are measured in the environment that runs this, so run it in `.venv`.
"""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
MODULES = {  # distribution -> module, where the names differ
    "dandi": "dandi",
    "ndx-population-dynamics": "ndx_population_dynamics",
    "ruamel.yaml": "ruamel",
}
WHY = {
    "click": "the command line",
    "dandi": "addresses, assets, access and uploads, as the archive's own client does them",
    "h5py": "reading NWB files and results",
    "hdmf": "the types of the NWB extension",
    "jinja2": "the report's page",
    "matplotlib": "figures",
    "ndx-population-dynamics": "the NWB extension that results are written in",
    "nwbinspector": "checks of a file before it is uploaded",
    "numcodecs": "codecs of Zarr files",
    "numpy": "arrays",
    "pandas": "tables of neurons, trials and edges",
    "platformdirs": "where a system keeps caches",
    "pynwb": "writing NWB files",
    "requests": "reading remote files",
    "rich": "progress bars on a terminal",
    "ruamel.yaml": "sweeps and options in YAML files",
    "safetensors": "weights in a file that runs nothing",
    "scipy": "statistics and filters",
    "torch": "models and their training",
    "xarray": "labelled connectivity and predictions",
    "zarr": "arrays of Zarr files",
}
STEPS = {  # what a user does -> the program that does it
    "`import nwbdyn`": "import nwbdyn",
    "`nwbdyn --help`": "from nwbdyn.cli import main\nmain(['--help'], standalone_mode=False)",
    "`nwbdyn.load(RUN)`": "import nwbdyn.results.fit_results",
    "`nwbdyn.fit`": "import nwbdyn.fitting.fit",
}


def requirements() -> list[Requirement]:
    """The dependencies of the package without its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def size(name: str) -> float:
    """Megabytes of the installed files of a distribution."""
    files = metadata.distribution(name).files or ()
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def imported_by(program: str) -> tuple[set[str], float]:
    """Top-level modules that a program imports in a fresh process, and its seconds of CPU."""
    tail = (
        "\nimport sys, time\n"
        "print('\\n' + ' '.join({n.partition('.')[0] for n in sys.modules}), time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program + tail], capture_output=True, text=True, check=True
    )
    *names, seconds = done.stdout.splitlines()[-1].split()
    return set(names), float(seconds)


def page() -> str:
    """The page, measured here and now."""
    loaded = {step: imported_by(program) for step, program in STEPS.items()}
    rows, total = [], 0.0
    for requirement in requirements():
        name = requirement.name
        module = MODULES.get(name, name.replace("-", "_"))
        first = next((step for step, (names, _) in loaded.items() if module in names), "when used")
        megabytes = size(name)
        total += megabytes
        rows.append(
            f"| {name} | {requirement.specifier} | {megabytes:.1f} | {WHY[name]} | {first} |"
        )
    times = ", ".join(f"{step} {seconds:.2f} s" for step, (_, seconds) in loaded.items())
    table = "\n".join(rows)
    return f"""# Dependencies

Written by `docs/make_dependencies.py`. MB are the installed files of the package itself. The last
column is the first step of a user that imports it. What is imported "when used" costs nothing
before.

| package | version | MB | why | first imported by |
| --- | --- | ---: | --- | --- |
{table}

Together {total:.0f} MB, with PyTorch for CPUs. Start-up, in seconds of CPU: {times}.

Not a dependency, and used where it is installed: pynapple, IPython, nbclient, Ray and
Lightning.

Not used: filelock, for the lock of a run directory (`nwbdyn/results/run_lock.py`). Its leases would
also cover processes on other hosts. But a live lock of another host would be refused only after the
full watch (one minute), and without our progress report. Lock files of earlier versions of nwbdyn
would not be read.
"""


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "dependencies.md"
    target.write_text(page(), encoding="utf-8")
