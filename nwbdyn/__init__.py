"""nwbdyn: functional connectivity over time between the neurons of an NWB recording.

Public names resolve on first use, so importing the package imports no torch, pynwb, h5py or dandi.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from nwbdyn.version import __version__ as __version__

if TYPE_CHECKING:
    from nwbdyn.connectivity.connectivity import Connectivity
    from nwbdyn.evaluation.connectome_comparison import validate
    from nwbdyn.fitting.fit import fit
    from nwbdyn.nwb.results.open_results import open_results
    from nwbdyn.opening import open
    from nwbdyn.recording import Recording, Source
    from nwbdyn.recording_tensors import Tensors, tensors
    from nwbdyn.results.fit_results import Fit, Predictions, load
    from nwbdyn.workflows.export import export
    from nwbdyn.workflows.joint import fit_joint
    from nwbdyn.workflows.load_model import lesion
    from nwbdyn.workflows.reproduce import reproduce
    from nwbdyn.workflows.sweep import sweep

_HOME = {
    "Connectivity": "nwbdyn.connectivity.connectivity",
    "Fit": "nwbdyn.results.fit_results",
    "Predictions": "nwbdyn.results.fit_results",
    "Recording": "nwbdyn.recording",
    "Source": "nwbdyn.recording",
    "export": "nwbdyn.workflows.export",
    "fit": "nwbdyn.fitting.fit",
    "fit_joint": "nwbdyn.workflows.joint",
    "lesion": "nwbdyn.workflows.load_model",
    "load": "nwbdyn.results.fit_results",
    "open": "nwbdyn.opening",
    "open_results": "nwbdyn.nwb.results.open_results",
    "sweep": "nwbdyn.workflows.sweep",
    "tensors": "nwbdyn.recording_tensors",
    "Tensors": "nwbdyn.recording_tensors",
    "reproduce": "nwbdyn.workflows.reproduce",
    "validate": "nwbdyn.evaluation.connectome_comparison",
}

__all__ = [
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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nwbdyn' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
