"""Published wirings of C. elegans by name, through the package cect.

`worm:White_whole` is the chemical synapses of a data set, `worm:White_whole:gap` its gap junctions.
A weight is the number of synapses in that data set; cect's signs are of no synapse, so there are
none here either.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn import optional
from nwbdyn.errors import ConfigError, not_among

SCHEME, EXTRA = "worm:", "worm"
KINDS = {"chemical": "Chemical", "gap": "GapJunction"}  # ours -> cect's


def is_wiring(text: str) -> bool:
    """True for `worm:NAME` and `worm:NAME:KIND`."""
    return text.startswith(SCHEME)


def edges(address: str) -> pd.DataFrame:
    """A wiring as a table with columns pre, post and weight; one row per pair that is connected.

    Raises:
        ConfigError: cect is not installed, or has no such data set.
    """
    name, _, kind = address.removeprefix(SCHEME).partition(":")
    kind = kind or "chemical"
    if kind not in KINDS:
        raise ConfigError(f"No kind of synapse named {kind!r}{not_among(kind, KINDS)}")
    datasets = optional.engine("cect", EXTRA, module="cect.Utils")
    transmitters = optional.engine("cect", EXTRA, module="cect.Neurotransmitters")
    known = datasets.all_known_connectome_datasets
    if name not in known:
        raise ConfigError(f"cect has no data set named {name!r}{not_among(name, known)}")
    wiring = datasets.get_connectome_dataset(name, from_cache=True)
    chosen = {
        label: matrix
        for label, matrix in wiring.connections.items()
        if transmitters.get_syn_type_from_synclass(label) == KINDS[kind]
    }
    if not chosen:
        raise ConfigError(
            f"{name} has no {kind} synapses; it has: {', '.join(sorted(wiring.connections))}."
        )
    return table_of(wiring.nodes, chosen)


def table_of(cells: list[str], matrices: Mapping[str, Any]) -> pd.DataFrame:
    """Pairs with a synapse, over all classes of synapses.

    Args:
        cells: their names, in the order of rows (senders) and columns (receivers).
        matrices: class of synapses -> (num_cells, num_cells) numbers of synapses.
    """
    total = np.sum([np.asarray(matrix, float) for matrix in matrices.values()], axis=0)
    pre, post = np.nonzero(total)
    names = np.array(cells, dtype=object)
    return pd.DataFrame({"pre": names[pre], "post": names[post], "weight": total[pre, post]})
