"""The strongest edges of a fit in a table that fits a terminal and a page."""

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table

HEADER = ("sender", "receiver", "kind", "weight", "se", "q", "flags")
NUMBER = 10  # rows


def rows(edges: pd.DataFrame, number: int = NUMBER) -> list[tuple[str, ...]]:
    """The strongest edges, one row of texts per edge in the order of HEADER."""
    return [_texts(edge) for edge in strongest(edges, number).to_dict("records")]


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


def _texts(edge: dict[str, object]) -> tuple[str, ...]:
    kind = f"{edge['kind']}, {edge['state']}" if edge["state"] else str(edge["kind"])
    numbers = (_number(edge["weight"], "+.3g"), _number(edge["se"], ".2g"))
    return (
        *(str(edge["pre"]), str(edge["post"]), kind),
        *(*numbers, _number(edge["q"], ".2g"), str(edge["flags"])),
    )


def _number(value: object, form: str) -> str:
    number = float(value)  # type: ignore[arg-type]
    return "" if np.isnan(number) else format(number, form)
