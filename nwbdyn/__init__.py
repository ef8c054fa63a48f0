"""nwbdyn: what the neurons in an NWB recording say about one another.

Public names resolve on first use, so importing the package imports no torch, pynwb, h5py or dandi.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nwbdyn.connectivity import Connectivity
    from nwbdyn.fitting import fit
    from nwbdyn.joint import fit_joint
    from nwbdyn.nwb.results import open_results
    from nwbdyn.nwb.write import export
    from nwbdyn.opening import open
    from nwbdyn.recording import Recording, Source
    from nwbdyn.reproducing import reproduce
    from nwbdyn.restoring import lesion
    from nwbdyn.results import Fit, Predictions, load
    from nwbdyn.sweeping import sweep
    from nwbdyn.validating import validate

_HOME = {
    "Connectivity": "nwbdyn.connectivity",
    "Fit": "nwbdyn.results",
    "Predictions": "nwbdyn.results",
    "Recording": "nwbdyn.recording",
    "Source": "nwbdyn.recording",
    "export": "nwbdyn.nwb.write",
    "fit": "nwbdyn.fitting",
    "fit_joint": "nwbdyn.joint",
    "lesion": "nwbdyn.restoring",
    "load": "nwbdyn.results",
    "open": "nwbdyn.opening",
    "open_results": "nwbdyn.nwb.results",
    "sweep": "nwbdyn.sweeping",
    "reproduce": "nwbdyn.reproducing",
    "validate": "nwbdyn.validating",
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
