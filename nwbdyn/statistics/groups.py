"""Coupling between cell types or regions: means over pairs of neurons, and how far they may be off.

Edges are no sample: N neurons give N^2 edges and no more than N independent things. The bootstrap
draws what was sampled, animals, then sessions within them, then neurons within those, never edges.
With one animal nothing can be said beyond it, and the columns' names say so. A difference between
states is one only where `state_change` supports it, and columns say whether it does and why not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ResultsError
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.states import StateDifferences
from nwbdyn.statistics.significance import benjamini_hochberg

FEWEST = 3  # neurons of a type, below which a session says nothing of it


@dataclass(frozen=True)
class SessionCoupling:
    """The mean coupling matrix of one session."""

    weight: np.ndarray  # (N, N) [post, pre]
    label: np.ndarray  # (N,) str, type or region; "" takes no part
    animal: str
    flagged: np.ndarray  # (N, N) bool, edges that may be artefacts


def table_of(fitted: Fit) -> pd.DataFrame | None:
    """`cell_type_contrast` of one fit; None where its neurons have no types.

    Its column `weight_unflagged` is the mean without edges flagged as artefacts.
    """
    table = fitted.connectivity.neurons.table
    if "cell_type" not in table or not table["cell_type"].notna().any():
        return None
    unflagged = cell_type_contrast(fitted, with_flagged=False)["weight"]
    return cell_type_contrast(fitted).assign(weight_unflagged=unflagged)


def cell_type_contrast(
    fits: Fit | Sequence[Fit],
    column: str = "cell_type",
    *,
    states: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    with_flagged: bool = True,
    num_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean weight of every ordered pair of types, over sessions and animals.

    A session's matrix is scaled to unit root mean square where there are several. A session counts
    for a pair when it has FEWEST neurons of both types; animals count alike, and so do the sessions
    of one animal. A drawn neuron stands for itself as often as it was drawn, and no pair of copies
    of one neuron counts.

    Args:
        fits: one per session.
        column: of the neuron table; "location" gives regions.
        states: for each session a table of start_time, stop_time and state, as
            `states.of_recording` gives it: means over the windows inside each state.
        with_flagged: False leaves edges out that the fit flags as possible artefacts.

    Returns:
        One row per pair: post, pre (the types), num_animals, num_sessions, num_post, num_pre (the
        neurons), weight, low and high (95 %), p (two-sided, from the resamples' share beyond 0) and
        q (Benjamini and Hochberg over all rows). With one animal low, high, p and q end in
        "_within_animal". NaN where no session has enough neurons. With states one row per pair and
        state, and four columns more: state; supported, True where every fit says that differences
        over state are (see `state_change`); p_states, the largest p of these fits that any coupling
        differs between states, NaN where one was not requested; why_not, what they say against it.

    Raises:
        ResultsError: no neuron has a label, as many tables of states as sessions are not given, or
            no window lies inside a state.
    """
    fits = [fits] if isinstance(fits, Fit) else list(fits)
    types = sorted({label for fit in fits for label in _labels(fit, column)} - {""})
    if not types:
        raise ResultsError(
            f"No neuron has a {column!r}. Use another column, or give types with --cell-types."
        )
    resample = partial(_pairs, types=types, num_resamples=num_resamples, seed=seed)
    sampled = partial(_sampled, column=column, with_flagged=with_flagged)
    if states is None:
        table = resample([sampled(fit) for fit in fits])
    else:
        tables = [states] if isinstance(states, pd.DataFrame) else list(states)
        if len(tables) != len(fits):
            raise ResultsError(
                f"{len(tables)} tables of states for {len(fits)} fits; give one each."
            )
        tested = _tested(fits)
        parts = []
        for name in sorted({name for one in tables for name in one["state"]}):
            windows = [
                (fit, one[one["state"] == name]) for fit, one in zip(fits, tables, strict=True)
            ]
            there = [sampled(fit, mask=mask) for fit, mask in windows if len(mask)]
            parts.append(resample(there).assign(state=name, **tested))
        table = pd.concat(parts, ignore_index=True)
    table["q"] = benjamini_hochberg(table["p"].to_numpy())
    if len({_animal(fit) for fit in fits}) == 1:
        table = table.rename(
            columns={name: f"{name}_within_animal" for name in ("low", "high", "p", "q")}
        )
    return table


def _tested(fits: Sequence[Fit]) -> dict[str, object]:
    """Combined result of the fits' state tests, for columns of `cell_type_contrast`."""
    tests = [StateDifferences.from_metrics(fit.metrics) for fit in fits]
    reasons = ["not requested (fit --states)" if one is None else one.why_not for one in tests]
    p = [np.nan if one is None or one.p is None else one.p for one in tests]
    return {
        "supported": not any(reasons),
        "p_states": float(np.max(p)),
        "why_not": "; ".join(dict.fromkeys(reason for reason in reasons if reason)),
    }


def _pairs(
    sessions: Sequence[SessionCoupling], types: Sequence[str], num_resamples: int, seed: int
) -> pd.DataFrame:
    """The rows of `between` for some sessions, without q."""
    if len(sessions) > 1:
        sessions = [_unit(one) for one in sessions]
    animals = sorted({one.animal for one in sessions})
    draw = np.random.default_rng(seed)
    drawn = np.stack([_resample(sessions, animals, types, draw) for _ in range(num_resamples)])
    whole = [_means(one, types, np.ones(len(one.label))) for one in sessions]
    mean = _over_animals(whole, [one.animal for one in sessions], animals)
    rows = []
    for a, post in enumerate(types):
        for b, pre in enumerate(types):
            counted = [
                one for one, means in zip(sessions, whole, strict=True) if np.isfinite(means[a, b])
            ]
            low, high, p = _interval(drawn[:, a, b]) if counted else (np.nan,) * 3
            rows.append(
                {
                    "post": post,
                    "pre": pre,
                    "num_animals": len({one.animal for one in counted}),
                    "num_sessions": len(counted),
                    "num_post": sum(int((one.label == post).sum()) for one in counted),
                    "num_pre": sum(int((one.label == pre).sum()) for one in counted),
                    "weight": mean[a, b],
                    "low": low,
                    "high": high,
                    "p": p,
                }
            )
    return pd.DataFrame(rows)


def _sampled(
    fit: Fit, column: str, *, with_flagged: bool, mask: pd.DataFrame | None = None
) -> SessionCoupling:
    neurons = fit.connectivity.neurons
    flagged = np.zeros((len(neurons),) * 2, dtype=bool)
    if not with_flagged:
        row = pd.Index(neurons.ids)
        edges = edge_table.directed(fit.edges)
        flagged_edges = edges[edges["flags"] != ""]
        flagged[
            row.get_indexer(flagged_edges["post_id"]), row.get_indexer(flagged_edges["pre_id"])
        ] = True
    weight = fit.connectivity.mean(mask).to_numpy().astype(np.float64)
    return SessionCoupling(weight, _labels(fit, column), _animal(fit), flagged)


def _labels(fit: Fit, column: str) -> np.ndarray:
    """(N,) str, "" where a neuron has none."""
    neurons = fit.connectivity.neurons
    if column not in neurons.table:
        return np.full(len(neurons), "", dtype=object)
    values = neurons.table[column]
    return values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=object)


def _animal(fit: Fit) -> str:
    """The subject's id; without one, every recording is another animal."""
    subject = fit.session.get("subject")
    animal = subject.get("subject_id", "") if isinstance(subject, dict) else ""
    return animal or fit.source.uri


def _unit(one: SessionCoupling) -> SessionCoupling:
    """The session at unit root mean square off the diagonal."""
    others = ~np.eye(len(one.weight), dtype=bool)
    size = np.sqrt(np.square(one.weight[others]).mean())
    return SessionCoupling(
        one.weight / (size if size > 0 else 1), one.label, one.animal, one.flagged
    )


def _resample(
    sessions: Sequence[SessionCoupling],
    animals: Sequence[str],
    types: Sequence[str],
    draw: np.random.Generator,
) -> np.ndarray:
    """(K, K) means of drawn animals, of drawn sessions in each, of drawn neurons in those."""
    means: list[np.ndarray] = []
    of: list[str] = []
    for number, chosen in enumerate(draw.integers(0, len(animals), len(animals))):
        own = [one for one in sessions if one.animal == animals[chosen]]
        for position in draw.integers(0, len(own), len(own)):
            one = own[position]
            copies = np.zeros(len(one.label))
            for kind in types:
                rows = np.flatnonzero(one.label == kind)
                if len(rows):
                    np.add.at(copies, draw.choice(rows, len(rows)), 1)
            means.append(_means(one, types, copies))
            of.append(str(number))
    return _over_animals(means, of, sorted(set(of)))


def _means(one: SessionCoupling, types: Sequence[str], copies: np.ndarray) -> np.ndarray:
    """(K, K) mean weight per pair of types; `copies` weights the neurons."""
    member = (one.label[:, None] == np.array(types, dtype=object)).astype(float)  # (N, K)
    enough = member.sum(axis=0) >= FEWEST
    counted = ~np.eye(len(one.label), dtype=bool) & ~one.flagged
    drawn = member * copies[:, None]
    total = drawn.T @ np.where(counted, one.weight, 0.0) @ drawn
    pairs = drawn.T @ counted.astype(float) @ drawn
    known = (pairs > 0) & enough[:, None] & enough
    return np.where(known, total / np.where(pairs > 0, pairs, 1), np.nan)


def _over_animals(
    means: Sequence[np.ndarray], of: Sequence[str], animals: Sequence[str]
) -> np.ndarray:
    """(K, K) mean over animals of the mean over each one's sessions, NaN left out."""
    named = list(zip(means, of, strict=True))
    return _mean([_mean([m for m, name in named if name == animal]) for animal in animals])


def _mean(matrices: Sequence[np.ndarray]) -> np.ndarray:
    stack = np.stack(matrices)
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    total = np.where(known, stack, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """2.5 % and 97.5 % of the resamples, and twice the smaller share beyond 0."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan, np.nan
    low, high = np.quantile(values, [0.025, 0.975])
    beyond = min((values <= 0).sum(), (values >= 0).sum())
    return float(low), float(high), float(min(1.0, 2 * (1 + beyond) / (1 + len(values))))
