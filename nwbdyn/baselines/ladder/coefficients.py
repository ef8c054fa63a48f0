"""Coefficients of the rungs M0 to M2, one table per kind of term, as a model's core holds them."""

from dataclasses import dataclass

import numpy as np

from nwbdyn.baselines.ladder.rung import Ladder, Part
from nwbdyn.models._core_terms import LAGS, num_terms, sender_bins, sender_blocks

LINEAR_OWN = ("lags", "filters")
INTRINSIC = ("one-sided", "two-sided")


@dataclass(frozen=True)
class Coefficients:
    """Sums over the rungs up to M2; signals in training sd, see `terms.Past`."""

    lags: np.ndarray  # (N, L) of own lags, the newest first
    rates: np.ndarray  # (N, R) of own counts through exponentials; traces: R = 0
    curved: np.ndarray  # (N, F) of nonlinear functions of own lags
    covariates: np.ndarray  # (N, C)
    constant: np.ndarray  # (N,)
    senders: np.ndarray  # (K, N, N) [kind, post, pre]


def coefficients(ladder: Ladder, *, num_lags: int, to: str = "M2") -> Coefficients:
    """Add up the parts of the rungs up to `to`.

    Args:
        num_lags: columns of `lags`, as many as the autoregression may have.
    """
    past = ladder.past
    assert past is not None  # climb
    n = past.signals.shape[1]
    blocks = sender_blocks(n, past.context, counts=ladder.counts)
    total = Coefficients(
        lags=np.zeros((n, num_lags)),
        rates=np.zeros((n, past.num_rates)),
        curved=np.zeros((n, sum(num_terms(past.context)))),
        covariates=np.zeros((n, past.covariates.shape[1])),
        constant=np.zeros(n),
        senders=np.zeros((sum(blocks.values()), n, n)),
    )
    for rung in ladder.rungs:
        for part in rung.parts:
            total.constant[:] += part.constant
            if part.terms in LINEAR_OWN:
                _add_linear(total, part)
            elif part.terms in (*INTRINSIC, "finer"):
                _add_curved(total, part, past.context)
            else:
                _add_senders(total, part, blocks, past.context)
        if rung.name == to:
            break
    return total


def _add_linear(total: Coefficients, part: Part) -> None:
    """Own lags, or own filtered counts, then covariates."""
    own = part.coefficients.shape[1] - total.covariates.shape[1]
    target = total.lags if part.terms == "lags" else total.rates
    target[:, :own] += part.coefficients[:, :own]
    total.covariates[:] += part.coefficients[:, own:]


def _add_curved(total: Coefficients, part: Part, context: int) -> None:
    one, two, _ = num_terms(context)
    if part.terms == "finer":
        total.curved[:, one + two :] += part.coefficients
        return
    lags, rates = min(LAGS, context), total.rates.shape[1]
    stops = np.cumsum([lags, one, rates])
    by_lag, curved, by_rate, more = np.split(part.coefficients, stops, axis=1)
    total.lags[:, :lags] += by_lag
    total.curved[:, :one] += curved
    total.rates[:] += by_rate
    total.curved[:, one : one + more.shape[1]] += more


def _add_senders(total: Coefficients, part: Part, blocks: dict[str, int], context: int) -> None:
    """Sender terms, kind by kind; of traces own lags and covariates behind them."""
    n = len(total.constant)
    if part.terms in blocks:
        number = blocks[part.terms]
        first = sum(blocks[name] for name in _before(part.terms, blocks))
    else:
        first, number = 0, sender_bins(n, context)[part.terms]
    sent, beside = np.split(part.coefficients, [number * n], axis=1)
    total.senders[first : first + number] += sent.reshape(n, number, n).transpose(1, 0, 2)
    if beside.shape[1]:
        lags = min(LAGS, context)
        total.lags[:, :lags] += beside[:, :lags]
        total.covariates[:] += beside[:, lags:]


def _before(name: str, blocks: dict[str, int]) -> list[str]:
    names = list(blocks)
    return names[: names.index(name)]
