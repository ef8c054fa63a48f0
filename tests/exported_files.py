"""Objects, validation messages and digests of exported files, for their tests."""

import hashlib
from pathlib import Path

import numpy as np
from pynwb import NWBHDF5IO

from nwbdyn.nwb.results.model_run import name_of

FORMS = ("netformer", "gain", "attention", "static", "dense")
SITE = Path(np.__file__).parents[1]  # where the environment's packages lie


def contents(path: Path, fit) -> dict:
    """Every object of a fit in an exported file, by what its name adds to the fit's."""
    with NWBHDF5IO(path, "r") as io:
        module = io.read().processing["population_dynamics"]
        return {
            name.removeprefix(name_of(fit)): item for name, item in module.data_interfaces.items()
        }


def messages(path: Path, *, suggestions: bool = False) -> set[tuple[str, str, str]]:
    """Messages of nwbinspector on a file, with the archive's configuration."""
    from nwbinspector import Importance, inspect_nwbfile, load_config

    threshold = (
        Importance.BEST_PRACTICE_SUGGESTION if suggestions else Importance.BEST_PRACTICE_VIOLATION
    )
    return {
        (message.importance.name, message.check_function_name, message.message)
        for message in inspect_nwbfile(
            nwbfile_path=str(path),
            config=load_config("dandi"),
            importance_threshold=threshold,
            skip_validate=False,
        )
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
