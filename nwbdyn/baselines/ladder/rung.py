"""A rung of the ladder, and the ladder of one recording."""

from dataclasses import dataclass, field

import numpy as np

from nwbdyn.baselines.ladder.selection import Choice, Gain
from nwbdyn.baselines.ladder.terms import Past

RUNGS = {
    "M0": "autoregression",
    "M1": "nonlinear own dynamics",
    "M2": "additive coupling",
    "M3": "own dynamics gated by the population",
    "M4": "gain of the whole input",
}


@dataclass(frozen=True)
class Part:
    """Coefficients of one set of terms in a rung."""

    terms: str  # "lags", "filters", "one-sided", "two-sided", "finer", or a block of senders
    coefficients: np.ndarray  # (N, F) of the terms as they are, in the order in which they are made
    constant: np.ndarray  # (N,)


@dataclass(frozen=True)
class Rung:
    """One predictor, fitted on training bins and selected on validation bins."""

    name: str  # "M0" … "M4"
    linear: (
        np.ndarray
    )  # (num_bins, N) float32 training sd, or log rate; 0 where no bin is predicted
    gain: Gain | None  # over the rung below on validation; None for M0
    chosen: dict[str, float | int | str]  # order, penalties
    coupling: np.ndarray | None = None  # (N, N) [post, pre] linear weight of the last bin, in sd
    parts: tuple[Part, ...] = field(default=(), repr=False)  # what it adds to the rung below
    choices: dict[str, tuple[Choice, int]] = field(default_factory=dict, repr=False)  # step -> its
    # penalties, and the number of the set of terms

    @property
    def used(self) -> bool:
        """True where validation supports the rung; otherwise it equals the rung below."""
        return self.gain is None or self.gain.above


@dataclass(frozen=True)
class Ladder:
    """The rungs of one recording, lowest first."""

    rungs: tuple[Rung, ...]
    counts: bool  # `linear` is a log rate
    ceiling: np.ndarray = field(repr=False)  # (N,) largest log rate that is predicted; inf: traces
    past: Past | None = field(default=None, repr=False)  # the signals that the terms are made of

    def __getitem__(self, name: str) -> Rung:
        for rung in self.rungs:
            if rung.name == name:
                return rung
        raise KeyError(f"No rung {name!r}. Choose from: {', '.join(r.name for r in self.rungs)}.")

    @property
    def best(self) -> Rung:
        """The highest rung that validation supports."""
        return [rung for rung in self.rungs if rung.used][-1]
