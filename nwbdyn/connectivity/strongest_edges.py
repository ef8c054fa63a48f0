"""The strongest edges of a fit in a table that fits a terminal and a page."""

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table

HEADER = ("sender", "receiver", "kind", "lag", "weight", "se", "q", "flags")
NUMBER = 10  # rows
LEAST_Q = 0.001  # that is written out


def rows(edges: pd.DataFrame, number: int = NUMBER) -> list[tuple[str, ...]]:
    """The strongest edges, one row of texts per edge in the order of HEADER.

    Weights and standard errors of one kind have the same number of decimals: three digits of the
    largest weight.
    """
    shown = strongest(edges, number)
    largest = shown["weight"].abs().groupby(shown["kind"]).transform("max")
    return [
        _texts(edge, decimals(high, 3))
        for edge, high in zip(shown.to_dict("records"), largest, strict=True)
    ]


def decimals(largest: float, digits: int) -> int:
    """Decimals that show `largest` with so many digits, for a column of one number format."""
    if not largest > 0 or not np.isfinite(largest):
        return digits
    return max(0, digits - 1 - int(np.floor(np.log10(largest))))


def strongest(edges: pd.DataFrame, number: int = NUMBER) -> pd.DataFrame:
    """The strongest edges of a fit.

    Every kind that the table has (directed, simultaneous, changes between states) takes as many
    rows as the others; what is left over goes to the first. Within a kind the smallest q come
    first, then the largest |weight| / se, where there is no se the largest |weight|.
    """
    kinds = [
        part
        for part in (
            edge_table.directed(edges),
            edge_table.simultaneous(edges),
            edge_table.changes(edges),
        )
        if part["weight"].any()
    ]
    shown = [edges.iloc[:0]]
    for index, part in enumerate(kinds):
        share = number // len(kinds) + (number % len(kinds) if index == 0 else 0)
        shown.append(ranked(part)[:share])
    return pd.concat(shown[1:] or shown)


def ranked(edges: pd.DataFrame) -> pd.DataFrame:
    """Edges of one kind, the smallest q first, then the largest |weight| / se or |weight|."""
    weight, se = edges["weight"].abs().to_numpy(float), edges["se"].to_numpy(float)
    size = np.divide(weight, se, out=weight.copy(), where=se > 0) if (se > 0).all() else weight
    q = np.nan_to_num(edges["q"].to_numpy(float), nan=np.inf)
    return edges.iloc[np.lexsort((-size, q))]


def _texts(edge: dict[str, object], digits: int) -> tuple[str, ...]:
    kind = f"{edge['kind']}, {edge['state']}" if edge["state"] else str(edge["kind"])
    numbers = (_number(edge["weight"], f"+.{digits}f"), _number(edge["se"], f".{digits}f"))
    lag = "" if edge["lag"] == edge_table.ALL_LAGS else str(edge["lag"])
    return (
        *(str(edge["pre"]), str(edge["post"]), kind, lag),
        *(*numbers, _probability(edge["q"]), str(edge["flags"])),
    )


def _number(value: object, form: str) -> str:
    number = float(value)  # type: ignore[arg-type]
    return "" if np.isnan(number) else format(number, form)


def _probability(value: object) -> str:
    """A q with three decimals; the exact ones are in the edge table."""
    number = float(value)  # type: ignore[arg-type]
    return "<0.001" if number < LEAST_Q else _number(number, ".3f")
