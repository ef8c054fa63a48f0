"""Edge statistics from surrogates and half-samples: p, q, standard error, split-half reliability.

An edge's own 20 surrogates could never give it a small p, so the null is pooled over edges: K
matrices of E edges are K E draws. Edges differ in how far chance moves them, hence both sides are
divided by a scale before they are pooled (see RULES). False discoveries are controlled by Benjamini
and Hochberg (1995) over all edges. NumPy only; `refits` trains what is counted here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from nwbdyn.recording import Note
from nwbdyn.results.sections.coupling import CouplingGain
from nwbdyn.results.sections.edges import EdgeTests

LEVEL = 0.05  # of false discoveries, where nobody asks for another
RULES = ("plain", "receiver", "sender", "edge", "pair", "cautious")
RULE = "cautious"  # chosen on three simulated networks of 30 neurons
WEIGHT, INFLUENCE = "weight", "influence"  # columns of an edge table that can be tested


@dataclass(frozen=True)
class NullSamples:
    """Coupling matrices [post, pre] of one model, fitted again and again."""

    weight: np.ndarray  # (N, N) of the recording, a mean over seeds in the model's own units
    null: np.ndarray  # (K, N, N) of surrogates
    halves: np.ndarray  # (P, 2, N, N) of complementary half-samples of training blocks
    kind: str  # of the surrogates
    hypothesis: str  # what they make true, in words
    tested: str = WEIGHT  # the column of the edge table that the matrices are of


def pooled_p(
    weight: np.ndarray, null: np.ndarray, *, rule: str = RULE, se: np.ndarray | None = None
) -> np.ndarray:
    """(N, N) two-sided p of every edge against the null pooled over edges; NaN on the diagonal.

    p = (1 + number of pooled draws that are at least as large) / (1 + K E), E = N (N - 1).

    Args:
        weight: (N, N).
        null: (K, N, N); the scale of a surrogate comes from the others.
        rule: what both sides are divided by, a root mean square of the surrogates. "plain": of all
            edges; "receiver", "sender": of that row, that column; "pair": the product of both;
            "edge": of that edge. "cautious": "pair", and for the recording the larger of this and
            the same of `se`: inputs that are correlated, as only the recording's are, make weights
            less certain.
        se: (N, N) standard errors, for "cautious".
    """
    if rule not in RULES:
        raise ValueError(f"no rule {rule!r}; there are: {', '.join(RULES)}")
    others = ~np.eye(len(weight), dtype=bool)
    squares = np.square(null).sum(axis=0)
    drawn = [
        _over(np.abs(one), _scale((squares - one**2) / (len(null) - 1), rule))[others]
        for one in null
    ]
    scale = _scale(squares / len(null), rule)
    if rule == "cautious":
        assert se is not None
        scale = np.maximum(scale, _scale(np.square(se), rule))
    pool = np.sort(np.concatenate(drawn))
    above = len(pool) - np.searchsorted(pool, _over(np.abs(weight), scale), side="left")
    return np.where(others, (1 + above) / (1 + len(pool)), np.nan)


def smallest_p(num_surrogates: int, num_neurons: int) -> float:
    """The smallest p that `pooled_p` can give."""
    return 1 / (1 + num_surrogates * num_neurons * (num_neurons - 1))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q of every p: the false discovery rate at which it is just called. NaN stays NaN."""
    q = np.full(p.shape, np.nan)
    p = np.minimum(p, 1.0)  # rounding may exceed 1
    tested = np.isfinite(p)
    q[tested] = false_discovery_control(p[tested])
    return q


def standard_error(halves: np.ndarray) -> np.ndarray:
    """(N, N) half the root mean square difference between complementary halves.

    Balanced half-samples (McCarthy 1969) of blocks of time: the difference of two halves varies
    twice as much as the whole, in standard errors. Halves of a model that is less well determined
    from less data differ more, so this errs on the large side.
    """
    difference = halves[:, 0] - halves[:, 1]
    return np.sqrt(np.square(difference).mean(axis=0)) / 2


def half_agreement(halves: np.ndarray, chosen: np.ndarray | None = None) -> float:
    """Mean correlation over pairs of halves, off the diagonal.

    Args:
        chosen: (N, N) bool, the edges that count; all by default.
    """
    counted = ~np.eye(halves.shape[-1], dtype=bool)
    if chosen is not None:
        counted &= chosen
    if counted.sum() < 3:
        return float("nan")
    pairs = halves[..., counted]
    if not (np.ptp(pairs, axis=-1) > 0).all():
        return float("nan")
    return float(np.mean([np.corrcoef(pair)[0, 1] for pair in pairs]))


def edge_statistics(
    edges: pd.DataFrame,
    ids: np.ndarray,
    evidence: NullSamples,
    *,
    coupling: dict[str, Any] | None,
    withheld: str = "",
    flags: np.ndarray | None = None,
) -> tuple[pd.DataFrame, EdgeTests, tuple[Note, ...]]:
    """The edge table with se, half_split_agreement, p, q and flags; its section; what to note.

    All of these are of the column that was tested, which the hypothesis and `attrs["tested"]` name.
    half_split_agreement of an edge is the share of half-samples that have its weight's sign.

    Args:
        edges: directed, see `connectivity.edge_table`; other columns are kept.
        ids: (N,) of the neurons, in the order of the matrices.
        evidence: in the model's own units; `se` is given in those of the column.
        coupling: what coupling adds on test, as `evaluation.compare` says; None where unknown.
        withheld: why these edges have no q; "" where they may.
        flags: (N, N) str, artefacts that an edge may be, "" for none.
    """
    weight, halves = evidence.weight, evidence.halves
    num_neurons, others = len(weight), ~np.eye(len(weight), dtype=bool)
    se = standard_error(halves)
    p = pooled_p(weight, evidence.null, se=se)
    q = benjamini_hochberg(p)
    least = smallest_p(len(evidence.null), num_neurons)
    withheld = why_withheld(len(evidence.null), num_neurons, coupling) or withheld
    if withheld:
        q = np.full_like(q, np.nan)
    row = pd.Index(ids)
    post, pre = row.get_indexer(edges["post_id"]), row.get_indexer(edges["pre_id"])
    unit = _unit(edges[evidence.tested].to_numpy(float), weight[post, pre])
    hypothesis = evidence.hypothesis
    if evidence.tested != WEIGHT:
        hypothesis = f"of the column {evidence.tested!r}: {hypothesis}"
    agree = (np.sign(halves) == np.sign(weight)).mean(axis=(0, 1))  # (N, N) share of halves
    flags = np.full(weight.shape, "", dtype=object) if flags is None else flags
    table = edges.assign(
        se=(unit * se[post, pre]).astype(np.float32),
        half_split_agreement=agree[post, pre],
        p=p[post, pre],
        q=q[post, pre],
        flags=flags[post, pre],
    )
    table.attrs = edges.attrs | {
        "null_hypothesis": hypothesis,
        "tested": evidence.tested,
        "smallest_p": least,
        "withheld": withheld,
    }
    plain = flags == ""
    called = q <= LEVEL
    section = EdgeTests(
        null=evidence.kind,
        tested=evidence.tested,
        hypothesis=hypothesis,
        num_surrogates=len(evidence.null),
        num_half_samples=2 * len(halves),
        rule=RULE,
        smallest_p=least,
        level=LEVEL,
        num_edges=int(others.sum()),
        num_significant=None if withheld else int(called.sum()),
        num_flagged=int((others & ~plain).sum()),
        num_significant_unflagged=None if withheld else int((called & plain).sum()),
        withheld=withheld,
        half_split_correlation=half_agreement(halves),
        half_split_correlation_unflagged=half_agreement(halves, plain),
        mean_weight=float(weight[others].mean()),
        mean_weight_unflagged=_mean(weight[others & plain]),
        stable_signs=float((agree[others] == 1).mean()),
    )
    return table, section, (Note("q-withheld", "edges", withheld),) if withheld else ()


def why_withheld(num_surrogates: int, num_neurons: int, coupling: dict[str, Any] | None) -> str:
    """Why no q is given; "" where it is.

    Args:
        coupling: what coupling adds on test, as `evaluation.compare` says; None where unknown.
    """
    gain = None if coupling is None else CouplingGain.from_json(coupling)
    if gain is not None and gain.all_zero:
        return "no coupling was kept, every weight is 0"
    compared = None if gain is None else gain.decisive
    if compared is not None and not compared.least > 0:
        added = f"{compared.adds:+.3g} of {compared.metric}"
        at_least = f", from {compared.least:+.3g}" if compared.least != compared.adds else ""
        over = " to AR" if compared is not gain else ""
        return f"coupling adds nothing{over} on {compared.split} ({added}{at_least})"
    num_edges = num_neurons * (num_neurons - 1)
    least = smallest_p(num_surrogates, num_neurons)
    if least * num_edges >= LEVEL:
        return (
            f"with {num_surrogates} surrogates the smallest p is {least:.2g}, and one edge of "
            f"{num_edges} reaches q = {least * num_edges:.2g} at best; {round(1 / LEVEL)} suffice"
        )
    return ""


def _scale(square: np.ndarray, rule: str) -> np.ndarray:
    """(N, N) root mean square that a rule divides by, from mean squares per edge."""
    if rule == "edge":
        return np.sqrt(square)
    others = ~np.eye(len(square), dtype=bool)
    square = np.where(others, square, 0.0)
    whole = square.sum() / others.sum()
    receiver = square.sum(axis=1, keepdims=True) / (len(square) - 1)
    sender = square.sum(axis=0, keepdims=True) / (len(square) - 1)
    if rule == "plain":
        chosen = np.full(square.shape, whole)
    elif rule in ("receiver", "sender"):
        chosen = receiver if rule == "receiver" else sender
    else:
        chosen = _over(receiver * sender, whole)
    return np.sqrt(np.broadcast_to(chosen, square.shape))


def _over(numerator: np.ndarray, denominator: np.ndarray | float) -> np.ndarray:
    """The ratio, 0 where both are 0 (the diagonal, a neuron that nothing reaches)."""
    safe = np.where(denominator > 0, denominator, 1.0)
    return np.where(denominator > 0, numerator / safe, np.where(numerator > 0, np.inf, 0.0))


def _unit(shown: np.ndarray, own: np.ndarray) -> float:
    """Size of a table's weights over that in the model's own units; 1 for one seed."""
    size = np.sqrt(np.square(own).mean()) if len(own) else 0.0
    return float(np.sqrt(np.square(shown).mean()) / size) if size > 0 else 1.0


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
