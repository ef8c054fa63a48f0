"""The edge table: one row per coupling of a pair of neurons, for every kind of coupling.

Columns, in this order:

- pre, post: names of the sender and the receiver, as in `Neurons.names`;
- pre_id, post_id: their ids;
- kind: "directed", or "simultaneous" (within one bin, undirected: each pair has one row);
- lag: bins by which pre precedes post, 0 within one bin, -1 over all lags of the model; where
  several lags are tested jointly, the one with the largest weight;
- state: "" for the whole session, else the contrast of states whose change of weight this is;
- weight, se, p, q: NaN where nothing was tested; of several lags, their sum and its test;
- flags: artefacts that the edge may be, comma-separated.

Then come columns of some fits only. Directed edges stand first, then simultaneous ones, then
changes between states; the strongest of each first, at most MOST_EDGES of each.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons

COLUMNS = (
    *("pre", "post", "pre_id", "post_id", "kind", "lag", "state"),
    *("weight", "se", "p", "q", "flags"),
)
DIRECTED, SIMULTANEOUS = "directed", "simultaneous"
WITHIN_BIN, ALL_LAGS = 0, -1  # lags
MOST_EDGES = 100_000  # rows of each kind


def edge_table(
    neurons: Neurons,
    post: np.ndarray,
    pre: np.ndarray,
    weight: np.ndarray,
    *,
    kind: str = DIRECTED,
    lag: int = ALL_LAGS,
    state: str = "",
    **statistics: np.ndarray,
) -> pd.DataFrame:
    """A table of edges in the order given.

    Args:
        post, pre: (E,) rows of `neurons`.
        weight: (E,).
        statistics: (E,) each: se, p, q, flags; what is not given is NaN, or "" for flags.
    """
    names, ids = np.array(neurons.names, dtype=object), neurons.ids
    unknown = {name: np.full(len(weight), np.nan) for name in ("se", "p", "q")}
    columns = unknown | {"flags": np.full(len(weight), "", dtype=object)} | statistics
    types = np.full(len(neurons), "", dtype=object)
    if "cell_type" in neurons.table:
        known = neurons.table["cell_type"].astype(object)
        types = known.where(known.notna(), "").astype(str).to_numpy(dtype=object)
    table = pd.DataFrame(
        {
            "pre": names[pre],
            "post": names[post],
            "pre_id": ids[pre],
            "post_id": ids[post],
            "kind": np.full(len(weight), kind, dtype=object),
            "lag": np.full(len(weight), lag, dtype=np.int32),
            "state": np.full(len(weight), state, dtype=object),
            "weight": weight,
        }
        | columns
    )
    return table.assign(
        pre_cell_type=types[pre],
        post_cell_type=types[post],
        sign=np.sign(weight).astype(np.int8),
    )


def strongest(size: np.ndarray, number: int | None = MOST_EDGES) -> tuple[np.ndarray, np.ndarray]:
    """Rows (post, pre) of the largest entries off the diagonal of (N, N) sizes, largest first."""
    post, pre = np.nonzero(~np.eye(len(size), dtype=bool))
    order = np.argsort(-size[post, pre], kind="stable")[:number]
    return post[order], pre[order]


def combined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The tables one below the other; the attributes are those of the first."""
    first, *others = tables
    others = [one for one in others if len(one)]
    if not others:
        return first
    filled = [one if one.columns.equals(first.columns) else _like(one, first) for one in others]
    table = pd.concat([first, *filled], ignore_index=True)
    table.attrs = first.attrs
    return table


def _like(table: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    """The columns of `first`, NaN where `table` has none; then those of its own."""
    missing = {
        name: np.full(len(table), np.nan) for name in first.columns if name not in table.columns
    }
    return table.assign(**missing)


def directed(edges: pd.DataFrame) -> pd.DataFrame:
    """Directed edges over the whole session."""
    return _rows(edges, (edges["kind"] == DIRECTED) & (edges["state"] == ""))


def simultaneous(edges: pd.DataFrame) -> pd.DataFrame:
    """Simultaneous edges over the whole session, one row per pair."""
    return _rows(edges, (edges["kind"] == SIMULTANEOUS) & (edges["state"] == ""))


def changes(edges: pd.DataFrame) -> pd.DataFrame:
    """Changes of directed edges between states."""
    return _rows(edges, edges["state"] != "")


def with_values(edges: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS, and of the other columns those with a value."""
    return edges[[name for name in edges if name in COLUMNS or _has_value(edges[name])]]


def named(edges: pd.DataFrame, neurons: Neurons) -> pd.DataFrame:
    """A table with every column, also from one of version 0.1, whose pre and post are ids."""
    if "pre_id" in edges:
        return edges
    row = pd.Index(neurons.ids)
    post, pre = (row.get_indexer(pd.Index(edges[side])) for side in ("post", "pre"))
    if (post < 0).any() or (pre < 0).any():
        raise ValueError("an edge names a neuron that the fit does not have")
    table = edge_table(neurons, post, pre, edges["weight"].to_numpy())
    table = table.assign(**{name: edges[name] for name in edges if name not in ("pre", "post")})
    table.attrs = edges.attrs
    return table


def _has_value(column: pd.Series) -> bool:
    return bool((column.notna() & (column.astype(object) != "")).any())


def _rows(edges: pd.DataFrame, kept: pd.Series) -> pd.DataFrame:
    return edges if kept.all() else edges[kept].reset_index(drop=True)
