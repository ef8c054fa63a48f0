"""Mock constructors of connectivity: three neurons, twenty windows, one component of each form."""

# ruff: noqa: N802 - pynwb names its mock constructors after the types

from typing import Any

import numpy as np

import ndx_population_dynamics as ndx

from .results import MEASURE, NUM_TIMES, RATE, rows

NUM_NEURONS, CONTEXT = 3, 5
MATRIX = np.arange(9.0).reshape(NUM_NEURONS, NUM_NEURONS)


def mock_ConnectivityComponent(*, name: str = "component") -> ndx.ConnectivityComponent:
    """The abstract type itself, of which a file holds subtypes only."""
    return ndx.ConnectivityComponent(name=name, description="Abstract.")


def mock_ConstantConnectivity(*, name: str = "constant", **fields: Any) -> ndx.ConstantConnectivity:
    defaults: dict[str, Any] = {
        "description": "Coupling at lags of one and two bins.",
        "weight": np.stack([MATRIX, -MATRIX / 2]),
        "lags": [1, 2],
    }
    return ndx.ConstantConnectivity(name=name, **(defaults | fields))


def mock_QueryKeyConnectivity(
    *, name: str = "query_key", **fields: Any
) -> ndx.QueryKeyConnectivity:
    draw = np.random.default_rng(0)
    defaults: dict[str, Any] = {
        "description": "Coupling that follows the recent activity.",
        "activity": draw.normal(size=(NUM_TIMES + CONTEXT - 1, NUM_NEURONS)),
        "last_bin": np.arange(CONTEXT - 1, NUM_TIMES + CONTEXT - 1),
        "embedding": draw.normal(size=(NUM_NEURONS, 2)),
        "query": draw.normal(size=(4, CONTEXT + 2)),
        "key": draw.normal(size=(4, CONTEXT + 2)),
        "key_offset": draw.normal(size=(NUM_NEURONS, 4)),
        "norm_gain": np.ones(CONTEXT + 2),
        "norm_bias": np.zeros(CONTEXT + 2),
        "context": CONTEXT,
        "scale": 0.5,
        "is_raw_value": True,
    }
    return ndx.QueryKeyConnectivity(name=name, **(defaults | fields))


def mock_GainConnectivity(*, name: str = "gain", **fields: Any) -> ndx.GainConnectivity:
    defaults: dict[str, Any] = {
        "description": "A constant matrix times a gain of each receiver.",
        "weight": MATRIX,
        "gain": np.linspace(0.5, 1.5, NUM_TIMES * NUM_NEURONS).reshape(NUM_TIMES, NUM_NEURONS),
    }
    return ndx.GainConnectivity(name=name, **(defaults | fields))


def mock_AttentionConnectivity(
    *, name: str = "attention", **fields: Any
) -> ndx.AttentionConnectivity:
    maps = np.random.default_rng(0).dirichlet(np.ones(NUM_NEURONS), (NUM_TIMES, 1, NUM_NEURONS))
    defaults: dict[str, Any] = {"description": "Attention between neurons.", "maps": maps}
    return ndx.AttentionConnectivity(name=name, **(defaults | fields))


def mock_StateDependentConnectivity(
    *, name: str = "states", **fields: Any
) -> ndx.StateDependentConnectivity:
    defaults: dict[str, Any] = {
        "description": "One matrix for rest and one for running.",
        "weight": np.stack([MATRIX, 2 * MATRIX]),
        "states": ["rest", "running"],
        "state_index": np.repeat([0, 1, -1], [8, 8, 4]),
    }
    return ndx.StateDependentConnectivity(name=name, **(defaults | fields))


def mock_TimeFollowingConnectivity(
    *, name: str = "drift", **fields: Any
) -> ndx.TimeFollowingConnectivity:
    rising = np.linspace(0, 1, NUM_TIMES)
    defaults: dict[str, Any] = {
        "description": "Drift from one matrix to another.",
        "basis": np.stack([1 - rising, rising], axis=1),
        "weight": np.stack([MATRIX, MATRIX.T]),
        "knots": [0.0, (NUM_TIMES - 1) / RATE],
        "bandwidth": 1.0,
    }
    return ndx.TimeFollowingConnectivity(name=name, **(defaults | fields))


def mock_DenseConnectivity(*, name: str = "dense", **fields: Any) -> ndx.DenseConnectivity:
    weight = np.random.default_rng(1).normal(size=(NUM_TIMES, NUM_NEURONS, NUM_NEURONS))
    defaults: dict[str, Any] = {"description": "One matrix per window.", "weight": weight}
    return ndx.DenseConnectivity(name=name, **(defaults | fields))


def mock_components() -> list[ndx.ConnectivityComponent]:
    """One component of every form."""
    return [
        mock_ConstantConnectivity(),
        mock_QueryKeyConnectivity(),
        mock_GainConnectivity(),
        mock_AttentionConnectivity(),
        mock_StateDependentConnectivity(),
        mock_TimeFollowingConnectivity(),
        mock_DenseConnectivity(),
    ]


def mock_TimeResolvedConnectivity(
    *, run: ndx.ModelRun, neurons: ndx.NeuronsTable, name: str = "connectivity", **fields: Any
) -> ndx.TimeResolvedConnectivity:
    """The sum of one component of every form, unless `connectivity_components` are given."""
    if "connectivity_components" not in fields:
        fields["connectivity_components"] = mock_components()
    defaults: dict[str, Any] = {
        "description": "Couplings of the mock model.",
        "kind": "directed",
        "timestamps": np.arange(NUM_TIMES) / RATE,
        "neurons": rows("neurons", neurons, range(NUM_NEURONS)),
        "run": run,
    }
    return ndx.TimeResolvedConnectivity(name=name, **(defaults | MEASURE | fields))
