"""nwbdyn: what the neurons in an NWB recording say about one another.

Public names resolve on first use, so importing the package imports no torch, pynwb, h5py or dandi.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nwbdyn.connectivity import Connectivity
    from nwbdyn.fitting import fit
    from nwbdyn.many.joint import fit_joint
    from nwbdyn.many.sweeping import sweep
    from nwbdyn.nwb.results import open_results
    from nwbdyn.nwb.write import export
    from nwbdyn.opening import open
    from nwbdyn.recording import Recording, Source
    from nwbdyn.runs.reproducing import reproduce
    from nwbdyn.runs.restoring import lesion
    from nwbdyn.runs.results import Fit, Predictions, load
    from nwbdyn.scoring.validating import validate

_HOME = {
    "Connectivity": "nwbdyn.connectivity",
    "Fit": "nwbdyn.runs.results",
    "Predictions": "nwbdyn.runs.results",
    "Recording": "nwbdyn.recording",
    "Source": "nwbdyn.recording",
    "export": "nwbdyn.nwb.write",
    "fit": "nwbdyn.fitting",
    "fit_joint": "nwbdyn.many.joint",
    "lesion": "nwbdyn.runs.restoring",
    "load": "nwbdyn.runs.results",
    "open": "nwbdyn.opening",
    "open_results": "nwbdyn.nwb.results",
    "sweep": "nwbdyn.many.sweeping",
    "reproduce": "nwbdyn.runs.reproducing",
    "validate": "nwbdyn.scoring.validating",
}

__version__ = "0.1.0"
__all__ = [
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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nwbdyn' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
