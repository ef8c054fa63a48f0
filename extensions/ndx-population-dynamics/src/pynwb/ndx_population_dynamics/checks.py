"""Agreement of arrays, tables and words within one object, which a schema cannot express.

Each function yields one sentence per disagreement: the value, what is expected and why. A new
object with any is refused; an object of a file is read with a warning, as core types do it.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

import numpy as np
from hdmf.data_utils import DataIO

import ndx_population_dynamics as ndx

# Allowed values. NWB's schema language has no list of them, so the constructors hold them.
KINDS = ("directed", "simultaneous")
NEURON_KINDS = ("unit", "roi")
QUANTITIES = ("counts", "dff", "events", "deconvolved", "fluorescence")
VALUE_TYPES = ("text", "number", "boolean", "null", "json", "mapping")

Shape = tuple[int, ...]


def install() -> None:
    """Make the constructors check what they were given."""
    for kind, check in CHECKS.items():
        _guard(kind, check)
    for kind, (column, allowed) in ROWS.items():
        _guard_rows(kind, column, allowed)


def neurons(table: Any) -> Iterator[str]:
    yield from _allowed("kind", [table.kind], NEURON_KINDS)


def run_details(table: Any) -> Iterator[str]:
    yield from _column_allowed(table, "value_type", VALUE_TYPES)


def cell_type_pairs(table: Any) -> Iterator[str]:
    yield from _column_allowed(table, "kind", KINDS)


def predicted_activity(series: Any) -> Iterator[str]:
    yield from _allowed("quantity", [series.quantity], QUANTITIES)
    yield from _table(series, "neurons", "NeuronsTable")
    yield from _width(series, "data", 1, len(series.neurons), "neurons")


def connectivity_edges(table: Any) -> Iterator[str]:
    if type(table.neurons).__name__ != "NeuronsTable":
        yield f"neurons is a {type(table.neurons).__name__}; it must be a NeuronsTable"
    yield from _column_allowed(table, "kind", KINDS)


def edge_weights(series: Any) -> Iterator[str]:
    yield from _table(series, "edges", "ConnectivityEdgesTable", "ConnectivityEdges")
    yield from _width(series, "data", 1, len(series.edges), "edges")
    for name in ("low", "high"):
        if getattr(series, name, None) is not None:
            yield from _same_shape(series, name, _shape(series.data))


def cell_type_weights(series: Any) -> Iterator[str]:
    num_pairs = len(series.post_type)
    yield from _width(series, "data", 1, num_pairs, "pairs of types")
    for name in ("pre_type", "num_edges"):
        yield from _width(series, name, 0, num_pairs, "pairs of types")


def model_run(run: Any) -> Iterator[str]:
    """Fields of a new run; a file of 0.1 or 0.2 has texts and no description."""
    if _is_read(run):
        return
    if not run.description or run.description == "no description":
        yield "description is missing; say in a sentence what was fitted to what"
    for name in ("config", "binning", "split", "versions", "history", "scores", "notes"):
        if getattr(run, name, None) is not None:
            yield f"{name} is deprecated; see details, training_history, metrics and run_notes"


def constant(component: Any) -> Iterator[str]:
    yield from _square(component, "weight")
    num_lags = _shape(component.weight)[0]
    for name in ("lags", "sender_function"):
        if getattr(component, name) is not None:
            yield from _width(component, name, 0, num_lags, "matrices in weight")
    if component.lag is not None:
        yield "lag is given beside lags, which has one lag per matrix"


def query_key(component: Any) -> Iterator[str]:
    num_neurons = _shape(component.embedding)[0]
    projection, feature = _shape(component.query)
    yield from _width(component, "activity", 1, num_neurons, "rows of embedding")
    yield from _same_shape(component, "key", (projection, feature))
    tokens = component.context + _shape(component.embedding)[1]
    if feature != tokens:
        yield f"query has {feature} columns, but tokens have {tokens}: context and embedding"
    for name in ("norm_gain", "norm_bias"):
        if getattr(component, name) is not None:
            yield from _width(component, name, 0, feature, "columns of query")
    if (component.norm_gain is None) != (component.norm_bias is None):
        yield "norm_gain and norm_bias must be given together"
    for name in ("query_offset", "key_offset"):
        if getattr(component, name) is not None:
            yield from _same_shape(component, name, (num_neurons, projection))
    yield from _window_rows(component)
    if component.sent_value is not None:
        windows = _shape(component.last_bin)[0]
        yield from _same_shape(component, "sent_value", (windows, num_neurons))


def gain(component: Any) -> Iterator[str]:
    yield from _square(component, "weight")
    num_neurons = _shape(component.weight)[0]
    yield from _width(component, "gain", 1, num_neurons, "rows of weight")
    if (component.activity is None) != (component.last_bin is None):
        yield "activity and last_bin must be given together"
    elif component.activity is not None:
        yield from _width(component, "activity", 1, num_neurons, "rows of weight")
        windows = _shape(component.gain)[0]
        yield from _width(component, "last_bin", 0, windows, "rows of gain")
        yield from _window_rows(component)


def attention(component: Any) -> Iterator[str]:
    yield from _square(component, "maps")
    if (component.stream is None) != (component.window_of_bin is None):
        yield "stream and window_of_bin must be given together"
    elif component.stream is not None:
        num_bins = _shape(component.stream)[0]
        yield from _width(component, "stream", 1, _shape(component.maps)[-1], "columns of maps")
        yield from _same_shape(component, "window_of_bin", (num_bins, 2))


def state_dependent(component: Any) -> Iterator[str]:
    yield from _square(component, "weight")
    yield from _width(component, "states", 0, _shape(component.weight)[0], "matrices in weight")
    yield from _rows_exist(component, "state_index", -1, len(component.states), "states")


def time_following(component: Any) -> Iterator[str]:
    yield from _square(component, "weight")
    num_functions = _shape(component.weight)[0]
    yield from _width(component, "basis", 1, num_functions, "matrices in weight")
    if component.knots is not None:
        yield from _width(component, "knots", 0, num_functions, "matrices in weight")


def dense(component: Any) -> Iterator[str]:
    yield from _square(component, "weight")


def time_resolved(connectivity: Any) -> Iterator[str]:
    yield from _allowed("kind", [connectivity.kind], KINDS)
    yield from _table(connectivity, "neurons", "NeuronsTable")
    num_neurons, num_windows = len(connectivity.neurons), _shape(connectivity.timestamps)[0]
    if connectivity.mean is not None:
        yield from _same_shape(connectivity, "mean", (num_neurons, num_neurons))
    components = connectivity.connectivity_components
    if not components:
        yield "it has no component; a connectivity is a sum of one or more"
    for name, component in components.items():
        neurons, windows = _extent(component)
        if neurons is None:
            yield f"{name} is a {type(component).__name__}, which has no arrays; use a subtype"
        elif neurons != num_neurons:
            yield f"{name} is of {neurons} neurons, but neurons has {num_neurons} rows"
        if windows is not None and windows != num_windows:
            yield f"{name} is of {windows} windows, but there are {num_windows} timestamps"


def _extent(component: Any) -> tuple[int | None, int | None]:
    """Number of neurons and of windows of a component; None where nothing gives it."""
    neurons = {"QueryKeyConnectivity": "embedding", "AttentionConnectivity": "maps"}
    windows = {
        "QueryKeyConnectivity": "last_bin",
        "GainConnectivity": "gain",
        "AttentionConnectivity": "maps",
        "StateDependentConnectivity": "state_index",
        "TimeFollowingConnectivity": "basis",
        "DenseConnectivity": "weight",
    }
    kind = type(component).__name__
    array = getattr(component, neurons.get(kind, "weight"), None)
    if array is None:
        return None, None
    axis = 0 if kind == "QueryKeyConnectivity" else -1
    counted = getattr(component, windows[kind]) if kind in windows else None
    return _shape(array)[axis], None if counted is None else _shape(counted)[0]


def _window_rows(component: Any) -> Iterator[str]:
    """Rows of `activity` exist, and so does the flag of each."""
    num_bins = _shape(component.activity)[0]
    first = getattr(component, "context", 1) - 1
    yield from _rows_exist(component, "last_bin", first, num_bins, "rows of activity")
    if component.is_observed is not None:
        yield from _width(component, "is_observed", 0, num_bins, "rows of activity")


def _rows_exist(item: Any, name: str, first: int, stop: int, of: str) -> Iterator[str]:
    values = _plain(getattr(item, name))
    if not isinstance(values, np.ndarray | list | tuple) or not len(values):
        return  # still in its file: its values are read when they are used
    low, high = int(np.min(values)), int(np.max(values))
    if low < first or high >= stop:
        yield f"{name} runs from {low} to {high}; with {stop} {of} it must be {first} to {stop - 1}"


def _allowed(name: str, values: Iterable[Any], allowed: tuple[str, ...]) -> Iterator[str]:
    for value in dict.fromkeys(values):
        if value not in allowed:
            yield f"{name} is {value!r}; it must be one of {', '.join(allowed)}"


def _column_allowed(table: Any, name: str, allowed: tuple[str, ...]) -> Iterator[str]:
    """Values of a column that is given whole; rows that are added later are `add_row`'s."""
    if _is_read(table) or name not in table.colnames:
        return  # a column in a file is read when it is used
    values = _plain(table[name].data)
    yield from _allowed(name, [str(value) for value in values], allowed)


def _table(item: Any, name: str, *kinds: str) -> Iterator[str]:
    """A region of a table of one of these types."""
    table = getattr(item, name).table
    if table is None:
        yield f"{name} points at no table; give it a {kinds[0]}"
    elif type(table).__name__ not in kinds:
        yield f"{name} points at rows of a {type(table).__name__}; it must be a {kinds[0]}"


def _width(item: Any, name: str, axis: int, expected: int, of: str) -> Iterator[str]:
    shape = _shape(getattr(item, name))
    size = shape[axis] if axis < len(shape) else 0
    if size != expected:
        yield f"{name} has the shape {shape}, but there are {expected} {of}"


def _same_shape(item: Any, name: str, expected: Shape) -> Iterator[str]:
    shape = _shape(getattr(item, name))
    if shape != expected:
        yield f"{name} has the shape {shape}; it must be {expected}"


def _square(item: Any, name: str) -> Iterator[str]:
    shape = _shape(getattr(item, name))
    if len(shape) < 2 or shape[-1] != shape[-2]:
        yield f"{name} has the shape {shape}; its last two axes, post and pre, must be equal"


def _shape(value: Any) -> Shape:
    value = _plain(value)
    shape = getattr(value, "shape", None) or getattr(value, "maxshape", None) or np.shape(value)
    return tuple(int(size) for size in shape)


def _plain(value: Any) -> Any:
    """The array inside hdmf's wrappers."""
    return value.data if isinstance(value, DataIO) else value


def _is_read(item: Any) -> bool:
    """True if hdmf makes the object of a file."""
    return getattr(item, "_in_construct_mode", False)


def _guard(kind: type, check: Callable[[Any], Iterator[str]]) -> None:
    construct = kind.__init__

    @wraps(construct)
    def checked(self: Any, *args: Any, **fields: Any) -> None:
        construct(self, *args, **fields)
        wrong = "; ".join(check(self))
        if not wrong:
            return
        message = f"{type(self).__name__} {self.name!r}: {wrong}."
        if _is_read(self):
            warnings.warn(message, stacklevel=2)
        else:
            raise ValueError(message)

    kind.__init__ = checked


def _guard_rows(kind: type, column: str, allowed: tuple[str, ...]) -> None:
    add = kind.add_row

    @wraps(add)
    def checked(self: Any, *args: Any, **fields: Any) -> None:
        given = args[0] if args else fields.get("data")
        row = given if isinstance(given, dict) else fields
        wrong = "; ".join(_allowed(column, [row[column]] if column in row else [], allowed))
        if wrong:
            raise ValueError(f"{type(self).__name__} {self.name!r}: {wrong}.")
        add(self, *args, **fields)

    kind.add_row = checked


ROWS: dict[type, tuple[str, tuple[str, ...]]] = {
    ndx.ConnectivityEdgesTable: ("kind", KINDS),
    ndx.CellTypeConnectivityTable: ("kind", KINDS),
    ndx.RunDetailsTable: ("value_type", VALUE_TYPES),
}
CHECKS: dict[type, Callable[[Any], Iterator[str]]] = {
    ndx.ModelRun: model_run,
    ndx.NeuronsTable: neurons,
    ndx.RunDetailsTable: run_details,
    ndx.CellTypeConnectivityTable: cell_type_pairs,
    ndx.PredictedActivitySeries: predicted_activity,
    ndx.ConnectivityEdgesTable: connectivity_edges,
    ndx.EdgeWeightSeries: edge_weights,
    ndx.CellTypeConnectivitySeries: cell_type_weights,
    ndx.ConstantConnectivity: constant,
    ndx.QueryKeyConnectivity: query_key,
    ndx.GainConnectivity: gain,
    ndx.AttentionConnectivity: attention,
    ndx.StateDependentConnectivity: state_dependent,
    ndx.TimeFollowingConnectivity: time_following,
    ndx.DenseConnectivity: dense,
    ndx.TimeResolvedConnectivity: time_resolved,
}
