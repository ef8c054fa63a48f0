"""NWB types for models of neural population dynamics, generated from the specification.

Constructors refuse what the specification cannot express: arrays whose widths disagree, a kind of
coupling that does not exist, regions of the wrong table. Of a file, the same is a warning.
"""

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

ModelRun = get_class("ModelRun", _NAME)
RunSource = get_class("RunSource", _NAME)
RunMetricsTable = get_class("RunMetricsTable", _NAME)
RunDetailsTable = get_class("RunDetailsTable", _NAME)
TrainingHistoryTable = get_class("TrainingHistoryTable", _NAME)
RunNotesTable = get_class("RunNotesTable", _NAME)
NeuronsTable = get_class("NeuronsTable", _NAME)
PredictedActivitySeries = get_class("PredictedActivitySeries", _NAME)
ConnectivityEdgesTable = get_class("ConnectivityEdgesTable", _NAME)
EdgeWeightSeries = get_class("EdgeWeightSeries", _NAME)
CellTypeConnectivitySeries = get_class("CellTypeConnectivitySeries", _NAME)
CellTypeConnectivityTable = get_class("CellTypeConnectivityTable", _NAME)
ConnectivityComponent = get_class("ConnectivityComponent", _NAME)
ConstantConnectivity = get_class("ConstantConnectivity", _NAME)
QueryKeyConnectivity = get_class("QueryKeyConnectivity", _NAME)
GainConnectivity = get_class("GainConnectivity", _NAME)
AttentionConnectivity = get_class("AttentionConnectivity", _NAME)
StateDependentConnectivity = get_class("StateDependentConnectivity", _NAME)
TimeFollowingConnectivity = get_class("TimeFollowingConnectivity", _NAME)
DenseConnectivity = get_class("DenseConnectivity", _NAME)
TimeResolvedConnectivity = get_class("TimeResolvedConnectivity", _NAME)

from ndx_population_dynamics import checks  # noqa: E402 - the types must be registered first

checks.install()

__all__ = [
    "AttentionConnectivity",
    "CellTypeConnectivitySeries",
    "CellTypeConnectivityTable",
    "ConnectivityComponent",
    "ConnectivityEdgesTable",
    "ConstantConnectivity",
    "DenseConnectivity",
    "EdgeWeightSeries",
    "GainConnectivity",
    "ModelRun",
    "NeuronsTable",
    "PredictedActivitySeries",
    "QueryKeyConnectivity",
    "RunDetailsTable",
    "RunMetricsTable",
    "RunNotesTable",
    "RunSource",
    "StateDependentConnectivity",
    "TimeFollowingConnectivity",
    "TimeResolvedConnectivity",
    "TrainingHistoryTable",
]
