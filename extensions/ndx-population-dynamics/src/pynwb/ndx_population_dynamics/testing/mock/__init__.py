"""Mock constructors, one per type."""

from .dynamics import (
    mock_CellTypeConnectivitySeries,
    mock_ConnectivityEdges,
    mock_ConnectivityFactors,
    mock_EdgeWeightSeries,
    mock_ModelRun,
    mock_NeuronTable,
    mock_PredictedActivity,
    mock_RunMetrics,
    mock_RunSource,
)

__all__ = [
    "mock_CellTypeConnectivitySeries",
    "mock_ConnectivityEdges",
    "mock_ConnectivityFactors",
    "mock_EdgeWeightSeries",
    "mock_ModelRun",
    "mock_NeuronTable",
    "mock_PredictedActivity",
    "mock_RunMetrics",
    "mock_RunSource",
]
