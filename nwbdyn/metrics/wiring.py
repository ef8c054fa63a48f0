"""Agreement of estimated couplings with a known wiring."""

import numpy as np
from scipy.stats import rankdata

from nwbdyn.metrics.scores import pearson


def agreement(
    weight: np.ndarray, wiring: np.ndarray, known: np.ndarray | None = None
) -> dict[str, float]:
    """Every score of `weight` against `wiring`, both (post, pre), off the diagonal.

    Args:
        weight: estimated couplings, signed.
        wiring: true weights; an entry that is not 0 is an edge.
        known: (post, pre) bool, the pairs whose wiring is known; all by default.

    Returns:
        pearson, spearman (signed weights); auroc, auprc, precision_at_k (|weight| against edges, k
        = number of edges); sign_accuracy (over edges); direction (see `direction`).
    """
    estimate, truth = _pairs(weight, wiring, known)
    return {
        "pearson": correlation(estimate, truth),
        "spearman": correlation(rankdata(estimate), rankdata(truth)),
        "auroc": auroc(np.abs(estimate), truth != 0),
        "auprc": auprc(np.abs(estimate), truth != 0),
        "precision_at_k": precision_at_k(np.abs(estimate), truth != 0),
        "sign_accuracy": sign_accuracy(estimate, truth),
        "direction": direction(weight, wiring, known),
    }


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two vectors, NaN when one is constant."""
    return float(pearson.per_neuron(b[:, None], a[:, None])[0]) if np.ptp(a) > 0 else np.nan


def auroc(score: np.ndarray, edge: np.ndarray) -> float:
    """Chance that an edge scores above a non-edge, ties counted half. Vectors."""
    num_edges, num_others = int(edge.sum()), int((~edge).sum())
    if not num_edges or not num_others:
        return np.nan
    above = rankdata(score)[edge].sum() - num_edges * (num_edges + 1) / 2
    return float(above / (num_edges * num_others))


def auprc(score: np.ndarray, edge: np.ndarray) -> float:
    """Average precision: mean over edges of the precision at that edge's score. Vectors."""
    if not edge.any():
        return np.nan
    values, group = np.unique(-score, return_inverse=True)
    hits = np.cumsum(np.bincount(group, weights=edge, minlength=len(values)))
    taken = np.cumsum(np.bincount(group, minlength=len(values)))
    return float((hits / taken * np.diff(hits, prepend=0)).sum() / edge.sum())


def precision_at_k(score: np.ndarray, edge: np.ndarray, k: int | None = None) -> float:
    """Share of edges among the k highest scores; k = number of edges by default. Vectors."""
    k = int(edge.sum()) if k is None else k
    if not 0 < k <= len(score):
        return np.nan
    return float(edge[np.argsort(-score, kind="stable")[:k]].mean())


def sign_accuracy(weight: np.ndarray, truth: np.ndarray) -> float:
    """Share of true edges whose estimated weight has the right sign; 0 counts as wrong."""
    edge = truth != 0
    return float((np.sign(weight[edge]) == np.sign(truth[edge])).mean()) if edge.any() else np.nan


def direction(weight: np.ndarray, wiring: np.ndarray, known: np.ndarray | None = None) -> float:
    """Pearson with the wiring minus Pearson of the transposed estimate; above 0 = row is post."""
    forward = correlation(*_pairs(weight, wiring, known))
    return forward - correlation(*_pairs(weight.T, wiring, known))


def _pairs(
    weight: np.ndarray, wiring: np.ndarray, known: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The off-diagonal entries that are known, as two vectors."""
    if weight.shape != wiring.shape or weight.shape[0] != weight.shape[1]:
        raise ValueError(f"couplings {weight.shape} and wiring {wiring.shape} must be one square")
    chosen = ~np.eye(len(weight), dtype=bool)
    if known is not None:
        chosen &= known
    return weight[chosen].astype(np.float64), wiring[chosen].astype(np.float64)
