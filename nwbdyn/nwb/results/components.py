"""A connectivity as components of a TimeResolvedConnectivity, and their arrays back.

The extension names arrays for people who never saw a model of ours; `Connectivity` has shorter
names. The table below is the whole of the translation.
"""

from dataclasses import dataclass, field
from typing import Any

import h5py
import ndx_population_dynamics as ndx
import numpy as np
from ndx_population_dynamics import ConnectivityComponent

from nwbdyn.connectivity import edge_table, sums
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.connectivity.forms import BANDWIDTH, BASIS, STATE_NAMES, STATES
from nwbdyn.connectivity.sums import CORE
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results import storage
from nwbdyn.recording import Array
from nwbdyn.results.details import tidy


@dataclass(frozen=True)
class Stored:
    """How one form of a connectivity lies in a file."""

    type_name: str
    description: str
    arrays: dict[str, str]  # ours -> the extension's
    attributes: dict[str, str] = field(default_factory=dict)  # ours -> the extension's
    bits: dict[str, int] = field(default_factory=dict)  # ours -> see `storage.rounded`
    narrowed: tuple[str, ...] = ()  # ours, that grow with time: `--precision` applies


STORED = {
    "netformer": Stored(
        "QueryKeyConnectivity",
        "Coupling that follows the recent activity, from queries of receivers and keys of senders.",
        arrays={
            "activity": "activity",
            "last": "last_bin",
            "embedding": "embedding",
            "query": "query",
            "key": "key",
            "norm_gain": "norm_gain",
            "norm_bias": "norm_bias",
            "query_offset": "query_offset",
            "key_offset": "key_offset",
            "y": "sent_value",
        },
        attributes={"context": "context", "scale": "scale", "raw_values": "is_raw_value"},
        bits={"activity": 16, "y": 16},
        narrowed=("activity", "y"),
    ),
    "gain": Stored(
        "GainConnectivity",
        "A constant adjacency times a gain of each receiver.",
        arrays={"A": "weight", "g": "gain", "activity": "activity", "last": "last_bin"},
        bits={"g": 10, "activity": 8},  # A(t) needs no activity; contributions and currents do
        narrowed=("g", "activity"),
    ),
    "attention": Stored(
        "AttentionConnectivity",
        "Attention maps between neurons.",
        arrays={"maps": "maps", "y": "stream", "owner": "window_of_bin"},
        attributes={"bin_width": "bin_width"},
        narrowed=("maps", "y"),
    ),
    "static": Stored(
        "ConstantConnectivity", "Coupling that does not change.", arrays={"weight": "weight"}
    ),
    "dense": Stored(
        "DenseConnectivity",
        "One matrix per window.",
        arrays={"weights": "weight"},
        narrowed=("weights",),
    ),
    STATES: Stored(
        "StateDependentConnectivity",
        "One matrix per behavioural state.",
        arrays={"weight": "weight", "state": "state_index"},
    ),
    BASIS: Stored(
        "TimeFollowingConnectivity",
        "Coupling that follows slow change with time, such as drift and plasticity.",
        arrays={"weight": "weight", "basis": "basis", "knots": "knots"},
        attributes={BANDWIDTH: "bandwidth"},
    ),
}
HAS_ZERO_DIAGONAL = {"netformer": True, "gain": False}  # of forms beside a constant
CHANGING = tuple(HAS_ZERO_DIAGONAL)
CONSTANT = "constant"  # name of that component
OF_TYPE = {stored.type_name: form for form, stored in STORED.items()}
ROUNDED = "rounded"  # precision: single, without the noise that costs half of a file


def components(
    connectivity: Connectivity,
    *,
    precision: str,
    every_layer: bool,
    observed: np.ndarray | None = None,
) -> list[ConnectivityComponent]:
    """The components whose sum a `Connectivity` is: one, or a constant and a changing part.

    Args:
        precision: of arrays that grow with time, see `dynamics.PRECISIONS`.
        every_layer: False writes the first attention map only, the one between neurons.
        observed: (num_bins,) rows of the activity that were recorded.

    Raises:
        ResultsError: a form that the extension has no type for.
    """
    form = connectivity.form
    if form not in STORED:
        known = ", ".join(STORED)
        raise ResultsError(f"Connectivity of the form {form!r} cannot be exported; known: {known}.")
    stored = STORED[form]
    fields: dict[str, Any] = {}
    rounded_to: dict[str, int] = {}  # the extension's name -> bits
    arrays = dict(connectivity.arrays)
    core = arrays.pop(CORE, None) if form in CHANGING else None
    for name, whole in arrays.items():
        if form == "static" and name not in stored.arrays:
            continue  # a constant needs no activity
        array: Any = whole[:, :1] if name == "maps" and not every_layer else whole
        if name in stored.narrowed:
            array = storage.narrowed(array, precision)
        if name in stored.bits and precision == ROUNDED and storage.is_rounded(array):
            array = storage.rounded(array, stored.bits[name])
            rounded_to[stored.arrays[name]] = stored.bits[name]
        fields[stored.arrays[name]] = storage.compressed(array)
    for name, theirs in stored.attributes.items():
        if name in connectivity.attributes:
            value = connectivity.attributes[name]
            fields[theirs] = tidy(value) if isinstance(value, float) else value
    if form == "static":
        matrix = np.asarray(connectivity.arrays["weight"])
        fields |= {"weight": storage.compressed(matrix[None]), "lags": [edge_table.ALL_LAGS]}
    if form == STATES:
        fields["states"] = str(connectivity.attributes[STATE_NAMES]).split("\n")
    if observed is not None and "activity" in fields and not observed.all():
        fields["is_observed"] = observed
    if core is not None and HAS_ZERO_DIAGONAL[form]:
        fields["zero_diagonal"] = True
    words = f"{stored.description}{_rounding(rounded_to)}"
    made = getattr(ndx, stored.type_name)(name=form, description=words, **fields)
    return [made] if core is None else [_constant(np.asarray(core)), made]


def _rounding(bits: dict[str, int]) -> str:
    """Say which arrays are not stored as they were computed, and how far off they may be."""
    if not bits:
        return ""
    steps = ", ".join(f"{name} to 2^-{number}" for name, number in bits.items())
    return (
        f" Rounded, in standard deviations of a column: {steps}; every other array is as it was "
        "computed."
    )


def _constant(weight: np.ndarray) -> ConnectivityComponent:
    """The coupling of a closed-form core."""
    return ndx.ConstantConnectivity(
        name=CONSTANT,
        description="Mean additive coupling, to which the other component is added.",
        weight=storage.compressed(weight[None]),
        lags=[edge_table.ALL_LAGS],
    )


def remaining(connectivity: Connectivity) -> dict[str, object]:
    """Attributes of a connectivity that no component has a field for."""
    known = STORED[connectivity.form].attributes if connectivity.form in STORED else {}
    own = (STATE_NAMES,) if connectivity.form == STATES else ()
    return {
        name: value
        for name, value in connectivity.attributes.items()
        if name not in known and name not in own
    }


def read(group: h5py.Group, lazily: Any) -> tuple[str, dict[str, Array], dict[str, Any]]:
    """Form, arrays and attributes of a TimeResolvedConnectivity in a file.

    What `components` writes comes back as it was; every other sum as the form "sum".

    Args:
        lazily: function of a dataset that returns its array, in memory or not.

    Raises:
        ResultsError: no component, or one of a type that this version does not know.
    """
    parts = {
        name: _read_component(item, lazily)
        for name, item in group.items()
        if isinstance(item, h5py.Group)
        and str(item.attrs.get("neurodata_type")).endswith("Connectivity")
    }
    if not parts:
        raise ResultsError(f"{group.name} in {group.file.filename} has no component.")
    core = parts.get(CONSTANT)
    if len(parts) == 1:
        (part,) = parts.values()
        if not part.zero_diagonal:
            return part.form, part.arrays, part.attributes
    elif core is not None and core.form == "static" and not core.zero_diagonal and len(parts) == 2:
        (part,) = (part for part in parts.values() if part is not core)
        if part.form in CHANGING and part.zero_diagonal == HAS_ZERO_DIAGONAL[part.form]:
            return part.form, part.arrays | {CORE: core.arrays["weight"]}, part.attributes
    arrays = {f"{name}/{own}": a for name, part in parts.items() for own, a in part.arrays.items()}
    attributes = {
        f"{name}/{own}": value
        for name, part in parts.items()
        for own, value in (
            *part.attributes.items(),
            (sums.FORM, part.form),
            (sums.ZERO_DIAGONAL, part.zero_diagonal),
        )
    }
    return sums.SUM, arrays, attributes


@dataclass(frozen=True)
class Component:
    """One component of a file, in the names of `Connectivity`."""

    form: str
    arrays: dict[str, Array]
    attributes: dict[str, Any]
    zero_diagonal: bool  # whether the diagonal counts as 0, whatever the arrays give


def _read_component(item: h5py.Group, lazily: Any) -> Component:
    kind = str(item.attrs["neurodata_type"])
    if kind not in OF_TYPE:
        known = ", ".join(OF_TYPE)
        raise ResultsError(
            f"{item.name} in {item.file.filename} is a {kind}; this version evaluates {known}. "
            "Read it with pynwb and the formulas of the extension's README, or with a later "
            "version."
        )
    zero_diagonal = bool(item.attrs.get("zero_diagonal", False))
    form = OF_TYPE[kind]
    stored = STORED[form]
    arrays = {ours: lazily(item[their]) for ours, their in stored.arrays.items() if their in item}
    if form == "static":
        arrays = {"weight": item["weight"][()].sum(axis=0)}  # one matrix per lag
    attributes = {
        ours: _attribute(item.attrs[their])
        for ours, their in stored.attributes.items()
        if their in item.attrs
    }
    if form == STATES:
        attributes[STATE_NAMES] = "\n".join(item["states"].asstr()[()])
    return Component(form, arrays, attributes, zero_diagonal)


def observed(group: h5py.Group) -> np.ndarray | None:
    """(num_bins,) rows of the activity that were recorded, where the component says so."""
    flags = group.get("gain/is_observed")
    return None if flags is None else flags[()].astype(bool)


def _attribute(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
