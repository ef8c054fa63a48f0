"""Software and hardware of a fit: versions, threads, and the state of a source checkout."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nwbdyn import models
from nwbdyn.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "h5py", "pynwb")


def versions(model: str = "") -> dict[str, str]:
    """Versions of Python and of the packages that can change a number, where they are installed.

    Args:
        model: name of the fitted model; the package that it comes from is among them.
    """
    versions_ = {"nwbdyn": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions_[name] = version(name)
        except PackageNotFoundError:
            continue
    package = models.package_of(model)
    return versions_ if package is None else {**versions_, package[0]: package[1]}


def model_packages(versions: Mapping[str, str]) -> tuple[str, ...]:
    """Packages in the versions of a fit that its model comes from, each with its version."""
    own = ("nwbdyn", "python", "environment", *PACKAGES)
    return tuple(f"{name} {version}" for name, version in versions.items() if name not in own)


def environment(*, seeds: Sequence[int], threads: int) -> dict[str, object]:
    """Time and machine of a fit.

    Args:
        seeds: of every fit in it.
        threads: that torch used on the CPU.
    """
    made: dict[str, object] = {
        "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": list(seeds),
        "threads": threads,
        "platform": platform.platform(),
        "cpu": cpu(),
        "cpu_count": os.cpu_count() or 0,
    }
    checkout = git_state()
    if checkout is not None:
        made["git"] = checkout
    return made


def cpu() -> str:
    """The processor's name if the system reports it, else its architecture."""
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def git_state() -> dict[str, object] | None:
    """Commit of the checkout this package is imported from, and whether it was modified.

    None for an installed package, or where git cannot say.
    """
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "modified": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
