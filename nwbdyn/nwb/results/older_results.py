"""Records, factors and edges in files of version 0.1 and 0.2 of the extension.

They hold nested values as JSON texts, one type of factors for every form, and edges whose neurons
are regions of the neuron table.
"""

import json
import math
from typing import Any

import h5py
import numpy as np

ARRAYS = (  # of ConnectivityFactors, as `Connectivity.arrays` calls them
    "activity",
    "last",
    "embedding",
    "query",
    "key",
    "norm_gain",
    "norm_bias",
    "A",
    "g",
    "maps",
    "y",
    "owner",
    "weight",
    "weights",
)


def is_older(module: h5py.Group, run: str) -> bool:
    """True if a run was written by version 0.1 or 0.2."""
    return f"{run}_factors" in module


def record(run: h5py.Group) -> dict[str, Any]:
    """config, binning, split, versions, environment, history, scores and notes of a run."""
    versions = _json(run, "versions")
    return {
        "config": _json(run, "config"),
        "binning": _json(run, "binning"),
        "split": _json(run, "split"),
        "environment": versions.pop("environment", {}),
        "versions": versions,
        "history": tuple(_nan_for_null(_json(run, "history"))),
        "scores": _scores(_json(run, "scores")),
        "notes": _json(run, "notes"),
    }


def factors(group: h5py.Group, lazily: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Form, arrays and attributes of a ConnectivityFactors."""
    attributes = _json(group, "details")
    for name, kind in (("context", int), ("scale", float)):
        if name in group.attrs:
            attributes[name] = kind(group.attrs[name])
    arrays = {name: lazily(group[name]) for name in ARRAYS if name in group}
    return group.attrs["form"], arrays, attributes


def edge_rows(table: h5py.Group) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the neuron table: of receivers, and of senders."""
    return table["post"][()], table["pre"][()]


def _json(group: h5py.Group, name: str) -> Any:
    return json.loads(group[name].asstr()[()])


def _scores(scores: dict[str, object]) -> dict[str, object]:
    """Scores that were not finite were stored as null; everything else stays as it is."""
    numeric = ("model", "baselines", "intervals")
    return {key: _nan_for_null(value) if key in numeric else value for key, value in scores.items()}


def _nan_for_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_for_null(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_for_null(item) for item in value]
    return math.nan if value is None else value
