"""NWB types for models of neural population dynamics, generated from the specification."""

from pathlib import Path

from pynwb import get_class, load_namespaces

_NAME = "ndx-population-dynamics"
_HERE = Path(__file__).resolve().parent
# Installed, the specification lies in the package; in the source tree, beside `src`.
_SPEC = next(
    folder / f"{_NAME}.namespace.yaml"
    for folder in (_HERE / "spec", _HERE.parents[2] / "spec")
    if folder.is_dir()
)
load_namespaces(str(_SPEC))

RunSource = get_class("RunSource", _NAME)
RunMetrics = get_class("RunMetrics", _NAME)
ModelRun = get_class("ModelRun", _NAME)
NeuronTable = get_class("NeuronTable", _NAME)
PredictedActivity = get_class("PredictedActivity", _NAME)
ConnectivityEdges = get_class("ConnectivityEdges", _NAME)
EdgeWeightSeries = get_class("EdgeWeightSeries", _NAME)
CellTypeConnectivitySeries = get_class("CellTypeConnectivitySeries", _NAME)
ConnectivityFactors = get_class("ConnectivityFactors", _NAME)

__all__ = [
    "CellTypeConnectivitySeries",
    "ConnectivityEdges",
    "ConnectivityFactors",
    "EdgeWeightSeries",
    "ModelRun",
    "NeuronTable",
    "PredictedActivity",
    "RunMetrics",
    "RunSource",
]
