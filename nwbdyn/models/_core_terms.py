"""The fixed functions of a neuron's own last bins and of senders, for arrays and for tensors.

`baselines.ladder` fits their coefficients on arrays, `_core` evaluates them on tensors; both call
these functions, so that they cannot come apart. Lists of lags begin with the newest bin.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

LAGS, CURVED = 10, 5  # own lags; those that enter nonlinear functions too
HINGES = (1.0, 3.0)  # sd above the mean
HINGED = 3  # lags with hinges
LOW_HINGES, FINER_HINGES, SLOPES = (0.5, 1.0), (0.0, 0.5, 2.0), (0.5, 2.0)
PRODUCTS = ((0, 0), (0, 1), (0, 2), (1, 2))  # of own lags
SENDER_LAGS = 3
SENDER_FUNCTIONS = ("tanh", "hinge", "increase")  # of a sender's last bin, in this order
MAX_INPUTS = 2000  # sender terms of one block: keeps its eigendecomposition short
TIME_CONSTANTS = (0.0, 0.05, 0.25)  # seconds, of counts; 0 is the bin itself
WINDOW_SHARES = (1.0, 0.1, 0.01)  # of its mean: added to a window's mean count before the log
CORE_MEMORY = 1.0  # seconds of counts that the exponentials of a core reach back

Tanh = Callable[[Any], Any]


def curved_terms(lags: Sequence[Any], tanh: Tanh) -> list[Any]:
    """Tanh, hinges, increases and products of up to CURVED lags, inside the training range."""
    terms = [tanh(one) for one in lags]
    terms += [_above(one, hinge) for one in lags[:HINGED] for hinge in HINGES]
    terms += [_above(new, old) for new, old in pairwise(lags)]
    return terms + [lags[a] * lags[b] for a, b in PRODUCTS if max(a, b) < len(lags)]


def two_sided_terms(lags: Sequence[Any]) -> list[Any]:
    """Hinges below the mean, and increases of more than 1 sd."""
    terms = [_above(-one, hinge) for one in lags[:HINGED] for hinge in LOW_HINGES]
    return terms + [_above(new - old, 1.0) for new, old in pairwise(lags)]


def finer_terms(lags: Sequence[Any], tanh: Tanh) -> list[Any]:
    """Hinges between those of `curved_terms`, steep and flat tanh, large differences."""
    terms = [_above(one, hinge) for one in lags for hinge in FINER_HINGES]
    terms += [_above(-one, hinge) for one in lags for hinge in LOW_HINGES]
    terms += [_above(new - old, 1.0) for new, old in pairwise(lags)]
    terms += [_above(old - new, 1.0) for new, old in pairwise(lags)]
    return terms + [tanh(slope * one) for one in lags for slope in SLOPES]


def num_terms(context: int) -> tuple[int, int, int]:
    """Numbers of `curved_terms`, `two_sided_terms` and `finer_terms` in a window of such length."""
    lags = [0.0] * min(CURVED, context)
    sets = (
        [*lags, *lags[:HINGED] * len(HINGES), *lags[1:]],
        [*lags[:HINGED] * len(LOW_HINGES), *lags[1:]],
        [*lags * (len(FINER_HINGES) + len(LOW_HINGES) + len(SLOPES)), *lags[1:], *lags[1:]],
    )
    products = sum(max(pair) < len(lags) for pair in PRODUCTS)
    return len(sets[0]) + products, len(sets[1]), len(sets[2])


def sender_bins(num_neurons: int, context: int) -> dict[str, int]:
    """Sets of a sender's last bins that compete in M2 of traces -> how many bins they hold."""
    most = max(1, min(SENDER_LAGS, context, MAX_INPUTS // num_neurons))
    names = ("last bin", *(f"last {number} bins" for number in range(2, most + 1)))
    return {name: number for number, name in enumerate(names, start=1)}


def sender_functions(newest: Any, before: Any | None, tanh: Tanh) -> list[Any]:
    """Functions of a sender's last bin; without `before` the increase is left out."""
    terms = [tanh(newest), _above(newest, HINGES[0])]
    return terms if before is None else [*terms, _above(newest, before)]


def sender_slopes(newest: Any, before: Any, tanh: Tanh) -> list[tuple[Any, Any]]:
    """Derivatives of each of `sender_functions` in the last bin and in the one before."""
    rises = 1.0 * (newest > before)
    above = 1.0 * (newest > HINGES[0])
    return [(1 - tanh(newest) ** 2, 0 * newest), (above, 0 * newest), (rises, -rises)]


def sender_blocks(num_neurons: int, context: int, *, counts: bool) -> dict[str, int]:
    """Block of sender terms -> its number of kinds, in the order of a core's coefficients."""
    if counts:
        kinds = {"rates": len(TIME_CONSTANTS) - 1, "last bin": 1}
    else:
        kinds = {"last bin": 1, "earlier bins": min(SENDER_LAGS, context) - 1}
        kinds["functions"] = len(SENDER_FUNCTIONS) - (context == 1)
    return {
        name: number
        for name, number in kinds.items()
        if number and num_neurons > 1 and number * num_neurons <= MAX_INPUTS
    }


def _above(one: Any, level: Any) -> Any:
    return (one - level).clip(min=0)
