"""Mock constructors: valid objects of three neurons, four edges and twenty time steps.

Objects that point at others take them as arguments, so that all of them can sit in one file:

    run, neurons = mock_ModelRun(), mock_NeuronTable()
    edges = mock_ConnectivityEdges(run=run, neurons=neurons)
    weights = mock_EdgeWeightSeries(run=run, edges=edges)
"""

# ruff: noqa: N802 - pynwb names its mock constructors after the types

import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion
from pynwb.epoch import TimeIntervals

import ndx_population_dynamics as ndx

NUM_TIMES, RATE = 20, 10.0
MEASURE = {"measure": "z per z", "is_causal": True, "window_start": -0.4, "window_stop": 0.0}


def mock_ModelRun(*, name: str = "model_run", seed: int = 0) -> ndx.ModelRun:
    splits = TimeIntervals(name="splits", description="Stretches of the session by split.")
    splits.add_column(name="label", description="Name of the split.")
    splits.add_interval(start_time=0.0, stop_time=1.4, label="train")
    splits.add_interval(start_time=1.4, stop_time=2.0, label="test")
    return ndx.ModelRun(
        name=name,
        model="mock",
        software="mock",
        software_version="1.0",
        seed=seed,
        device="cpu",
        fit_time="2025-01-01T00:00:00+00:00",
        config='{"context": 5}',
        run_sources=[mock_RunSource()],
        metrics=mock_RunMetrics(),
        splits=splits,
    )


def mock_RunSource(*, name: str = "source") -> ndx.RunSource:
    return ndx.RunSource(
        name=name, uri="dandi:000000/sub-X/sub-X.nwb", dandiset_id="000000", digest="sha256:00"
    )


def mock_RunMetrics(*, name: str = "metrics") -> ndx.RunMetrics:
    metrics = ndx.RunMetrics(name=name, description="Scores of the model beside the baselines.")
    metrics.add_row(method="mock", split="test", metric="r2", value=0.5)
    metrics.add_row(method="persistence", split="test", metric="r2", value=0.4)
    return metrics


def mock_NeuronTable(*, name: str = "neurons") -> ndx.NeuronTable:
    neurons = ndx.NeuronTable(name=name, description="Fitted units.", kind="unit")
    for source_id, cell_type in ((7, "pyr"), (8, "pv"), (9, "")):
        neurons.add_row(source_id=source_id, cell_type=cell_type, held_out=False)
    return neurons


def mock_PredictedActivity(
    *, run: ndx.ModelRun, neurons: ndx.NeuronTable, name: str = "predictions"
) -> ndx.PredictedActivity:
    values = np.linspace(0, 1, NUM_TIMES * 3).reshape(NUM_TIMES, 3)
    values[:5] = np.nan
    return ndx.PredictedActivity(
        name=name,
        description="Predicted counts.",
        data=values,
        unit="count",
        rate=RATE,
        starting_time=0.05,
        control=np.repeat(np.array([0, 2], np.uint8), [14, 6]),
        control_description=["train", "val", "test", "gap"],
        quantity="counts",
        horizon=1,
        bin_width=0.1,
        neurons=_rows("neurons", neurons, range(3)),
        run=run,
    )


def mock_ConnectivityEdges(
    *, run: ndx.ModelRun, neurons: ndx.NeuronTable, name: str = "edges"
) -> ndx.ConnectivityEdges:
    edges = ndx.ConnectivityEdges(
        name=name,
        description="Strongest couplings.",
        num_possible=6,
        kept_share=0.9,
        run=run,
        target_tables={"pre": neurons, "post": neurons},
        **MEASURE,
    )
    for pre, post, weight in ((0, 1, 0.5), (1, 0, -0.4), (2, 0, 0.3), (0, 2, -0.2)):
        edges.add_row(pre=pre, post=post, weight=weight)
    return edges


def mock_EdgeWeightSeries(
    *, run: ndx.ModelRun, edges: ndx.ConnectivityEdges, name: str = "edge_weights"
) -> ndx.EdgeWeightSeries:
    return ndx.EdgeWeightSeries(
        name=name,
        description="Weights of the edges over time.",
        data=np.linspace(-1, 1, NUM_TIMES * 4).reshape(NUM_TIMES, 4),
        unit="z per z",
        rate=RATE,
        starting_time=0.0,
        kept_share=0.9,
        num_averaged=1,
        edges=_rows("edges", edges, range(4)),
        run=run,
        **MEASURE,
    )


def mock_CellTypeConnectivitySeries(
    *, run: ndx.ModelRun, name: str = "cell_types"
) -> ndx.CellTypeConnectivitySeries:
    return ndx.CellTypeConnectivitySeries(
        name=name,
        description="Mean weight between cell types.",
        data=np.linspace(-1, 1, NUM_TIMES * 4).reshape(NUM_TIMES, 4),
        unit="z per z",
        rate=RATE,
        starting_time=0.0,
        grouped_by="cell_type",
        post_type=["pv", "pv", "pyr", "pyr"],
        pre_type=["pv", "pyr", "pv", "pyr"],
        num_edges=[2, 4, 4, 2],
        run=run,
        **MEASURE,
    )


def mock_ConnectivityFactors(
    *, run: ndx.ModelRun, neurons: ndx.NeuronTable, name: str = "factors"
) -> ndx.ConnectivityFactors:
    return ndx.ConnectivityFactors(
        name=name,
        form="gain",
        timestamps=np.arange(NUM_TIMES) / RATE,
        neurons=_rows("neurons", neurons, range(3)),
        A=np.arange(9.0).reshape(3, 3),
        g=np.ones((NUM_TIMES, 3)),
        run=run,
        **MEASURE,
    )


def _rows(name: str, table: DynamicTable, rows: range) -> DynamicTableRegion:
    return DynamicTableRegion(
        name=name, data=list(rows), description=f"Rows of {table.name}.", table=table
    )
