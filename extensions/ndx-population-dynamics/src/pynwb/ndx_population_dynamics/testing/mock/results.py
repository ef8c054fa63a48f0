"""Mock constructors of a fit's record, tables and series: three neurons, four edges, twenty times.

Objects that point at others take them as arguments, so that all of them can sit in one file:

    run, neurons = mock_ModelRun(), mock_NeuronsTable()
    edges = mock_ConnectivityEdgesTable(run=run, neurons=neurons)
    weights = mock_EdgeWeightSeries(run=run, edges=edges)
"""

# ruff: noqa: N802 - pynwb names its mock constructors after the types

from typing import Any

import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion
from pynwb.epoch import TimeIntervals

import ndx_population_dynamics as ndx

NUM_TIMES, RATE = 20, 10.0
MEASURE = {"measure": "z per z", "is_causal": True, "window_start": -0.4, "window_stop": 0.0}


def mock_ModelRun(*, name: str = "model_run", seed: int = 0, **fields: Any) -> ndx.ModelRun:
    splits = TimeIntervals(name="splits", description="Intervals of the session by split.")
    splits.add_column(name="label", description="Name of the split.")
    splits.add_interval(start_time=0.0, stop_time=1.4, label="train")
    splits.add_interval(start_time=1.4, stop_time=2.0, label="test")
    defaults: dict[str, Any] = {
        "description": "A mock model of three units, 0.1 s bins.",
        "model": "mock",
        "software": "mock",
        "software_version": "1.0",
        "seed": seed,
        "device": "cpu",
        "fit_time": "2025-01-01T00:00:00+00:00",
        "quantity": "counts",
        "bin_width": 0.1,
        "num_bins": NUM_TIMES,
        "num_neurons": 3,
        "split_rule": "contiguous 70/30 in time",
        "primary_metric": "r2",
        "run_sources": [mock_RunSource()],
        "metrics": mock_RunMetricsTable(),
        "splits": splits,
        "details": mock_RunDetailsTable(),
        "training_history": mock_TrainingHistoryTable(),
        "run_notes": mock_RunNotesTable(),
    }
    return ndx.ModelRun(name=name, **(defaults | fields))


def mock_RunSource(*, name: str = "source") -> ndx.RunSource:
    return ndx.RunSource(
        name=name,
        description="The recording that was fitted.",
        uri="dandi:000000/sub-X/sub-X.nwb",
        dandiset_id="000000",
        digest="sha256:00",
    )


def mock_RunMetricsTable(*, name: str = "metrics") -> ndx.RunMetricsTable:
    metrics = ndx.RunMetricsTable(name=name, description="Scores of the model and a baseline.")
    metrics.add_row(method="mock", split="test", metric="r2", value=0.5)
    metrics.add_row(method="persistence", split="test", metric="r2", value=0.4)
    return metrics


def mock_RunDetailsTable(*, name: str = "details") -> ndx.RunDetailsTable:
    details = ndx.RunDetailsTable(name=name, description="Options of the fit.")
    details.add_row(section="config", key="context", value="5", value_type="number")
    details.add_row(section="config", key="loss", value="poisson", value_type="text")
    return details


def mock_TrainingHistoryTable(*, name: str = "training_history") -> ndx.TrainingHistoryTable:
    history = ndx.TrainingHistoryTable(name=name, description="Two epochs.")
    history.add_row(epoch=1, loss=0.9, validation=0.95)
    history.add_row(epoch=2, loss=0.7, validation=0.8)
    return history


def mock_RunNotesTable(*, name: str = "run_notes") -> ndx.RunNotesTable:
    notes = ndx.RunNotesTable(name=name, description="One column was skipped.")
    notes.add_row(code="skipped-column", location="/units/quality", reason="unequal length")
    return notes


def mock_NeuronsTable(*, name: str = "neurons") -> ndx.NeuronsTable:
    neurons = ndx.NeuronsTable(name=name, description="Fitted units.", kind="unit")
    for source_id, cell_type in ((7, "pyr"), (8, "pv"), (9, "")):
        neurons.add_row(
            neuron_name=f"unit {source_id}",
            source_id=source_id,
            cell_type=cell_type,
            held_out=False,
        )
    return neurons


def mock_PredictedActivitySeries(
    *, run: ndx.ModelRun, neurons: ndx.NeuronsTable, name: str = "predictions", **fields: Any
) -> ndx.PredictedActivitySeries:
    values = np.linspace(0, 1, NUM_TIMES * 3).reshape(NUM_TIMES, 3)
    values[:5] = np.nan
    defaults: dict[str, Any] = {
        "description": "Predicted counts.",
        "data": values,
        "unit": "count",
        "rate": RATE,
        "starting_time": 0.05,
        "control": np.repeat(np.array([0, 2], np.uint8), [14, 6]),
        "control_description": ["train", "val", "test", "gap"],
        "quantity": "counts",
        "horizon": 1,
        "bin_width": 0.1,
        "neurons": rows("neurons", neurons, range(3)),
        "run": run,
    }
    return ndx.PredictedActivitySeries(name=name, **(defaults | fields))


def mock_ConnectivityEdgesTable(
    *, run: ndx.ModelRun, neurons: ndx.NeuronsTable, name: str = "edges"
) -> ndx.ConnectivityEdgesTable:
    edges = ndx.ConnectivityEdgesTable(
        name=name,
        description="Strongest couplings.",
        num_possible=6,
        kept_share=0.9,
        run=run,
        neurons=neurons,
        **MEASURE,
    )
    names, ids = neurons["neuron_name"], neurons["source_id"]
    for pre, post, weight in ((0, 1, 0.5), (1, 0, -0.4), (2, 0, 0.3), (0, 2, -0.2)):
        edges.add_row(
            pre=names[pre],
            post=names[post],
            pre_id=ids[pre],
            post_id=ids[post],
            pre_row=pre,
            post_row=post,
            kind="directed",
            lag=1,
            weight=weight,
        )
    return edges


def mock_EdgeWeightSeries(
    *,
    run: ndx.ModelRun,
    edges: ndx.ConnectivityEdgesTable,
    name: str = "edge_weights",
    **fields: Any,
) -> ndx.EdgeWeightSeries:
    defaults: dict[str, Any] = {
        "description": "Weights of the edges over time.",
        "data": np.linspace(-1, 1, NUM_TIMES * 4).reshape(NUM_TIMES, 4),
        "unit": "z per z",
        "rate": RATE,
        "starting_time": 0.0,
        "kept_share": 0.9,
        "num_averaged": 1,
        "edges": rows("edges", edges, range(4)),
        "run": run,
    }
    return ndx.EdgeWeightSeries(name=name, **(defaults | MEASURE | fields))


def mock_CellTypeConnectivitySeries(
    *, run: ndx.ModelRun, name: str = "cell_types", **fields: Any
) -> ndx.CellTypeConnectivitySeries:
    defaults: dict[str, Any] = {
        "description": "Mean weight between cell types.",
        "data": np.linspace(-1, 1, NUM_TIMES * 4).reshape(NUM_TIMES, 4),
        "unit": "z per z",
        "rate": RATE,
        "starting_time": 0.0,
        "grouped_by": "cell_type",
        "post_type": ["pv", "pv", "pyr", "pyr"],
        "pre_type": ["pv", "pyr", "pv", "pyr"],
        "num_edges": [2, 4, 4, 2],
        "run": run,
    }
    return ndx.CellTypeConnectivitySeries(name=name, **(defaults | MEASURE | fields))


def mock_CellTypeConnectivityTable(
    *, run: ndx.ModelRun, name: str = "cell_type_pairs"
) -> ndx.CellTypeConnectivityTable:
    pairs = ndx.CellTypeConnectivityTable(
        name=name,
        description="Mean weight between cell types.",
        grouped_by="cell_type",
        run=run,
        **MEASURE,
    )
    pairs.add_row(pre_type="pv", post_type="pyr", kind="directed", weight=-0.3)
    pairs.add_row(pre_type="pyr", post_type="pv", kind="directed", weight=0.2)
    return pairs


def rows(name: str, table: DynamicTable, chosen: range) -> DynamicTableRegion:
    return DynamicTableRegion(
        name=name, data=list(chosen), description=f"Rows of {table.name}.", table=table
    )
