"""Directed edges that are estimated from the recording itself, beside the weights of the model.

They take the place of the model's weights in the edge table. The model's weights stay in the column
`model_weight` and in the connectivity.
"""

from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table
from nwbdyn.recording import Neurons
from nwbdyn.statistics.significance import LEVEL, WEIGHT

# columns of the edge table that are of the model: its weight, and how seeds agree on that
OF_MODEL = ("model_weight", "influence", "seed_sd", "sign_agreement")


def table_of(
    statistics: dict[str, np.ndarray],
    modelled: pd.DataFrame,
    neurons: Neurons,
    *,
    size: np.ndarray,
    lag: np.ndarray | int = edge_table.ALL_LAGS,
) -> pd.DataFrame:
    """Directed edges, the most certain ones first.

    Args:
        statistics: (N, N) [post, pre] each: weight, se, p, q, flags and columns of their own.
        modelled: the edge table of the model, whose weights and influence are kept.
        size: (N, N) by which edges are ordered, NaN last.
        lag: (N, N) bins by which the sender precedes, or one number for all.
    """
    post, pre = edge_table.strongest(np.nan_to_num(size, nan=-1.0))
    columns = {name: matrix[post, pre] for name, matrix in statistics.items()}
    weight = columns.pop("weight").astype(np.float32)
    columns["se"] = columns["se"].astype(np.float32)
    table = edge_table.edge_table(neurons, post, pre, weight, **columns)
    table["lag"] = np.broadcast_to(lag, size.shape)[post, pre].astype(np.int32)
    own = edge_table.directed(modelled).set_index(["pre_id", "post_id"])
    pairs = pd.MultiIndex.from_frame(table[["pre_id", "post_id"]])
    own = own.rename(columns={"weight": "model_weight"})
    of_model = [name for name in OF_MODEL if name in own]
    table = table.assign(**{name: own[name].reindex(pairs).to_numpy() for name in of_model})
    others = ~np.eye(len(neurons), dtype=bool)
    total = np.abs(statistics["weight"][others]).sum()
    table.attrs = {
        "num_pairs": int(others.sum()),
        "kept_share": float(np.abs(weight).sum() / total) if total else 1.0,
    }
    return table


def summary_of(
    statistics: dict[str, np.ndarray], *, num_surrogates: int, withheld: str = ""
) -> dict[str, Any]:
    """Numbers of edges of section "edges" of the metrics.

    Args:
        statistics: as for `table_of`; q is NaN throughout where it is withheld.
        withheld: why there is no q; "" where there is one.
    """
    called, plain = statistics["q"] <= LEVEL, statistics["flags"] == ""
    others = ~np.eye(len(called), dtype=bool)
    return {
        "tested": WEIGHT,
        "num_surrogates": num_surrogates,
        "num_half_samples": 0,
        "level": LEVEL,
        "num_edges": int(others.sum()),
        "num_untested": int((others & ~np.isfinite(statistics["p"])).sum()),
        "num_significant": None if withheld else int(called.sum()),
        "num_flagged": int((others & ~plain).sum()),
        "num_significant_unflagged": None if withheld else int((called & plain).sum()),
        "withheld": withheld,
        "half_split_correlation": None,
        "mean_weight": float(statistics["weight"][others].mean()),
    }
