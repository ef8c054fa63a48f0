"""The fixed functions of which rungs are made, all of bins that lie at least a horizon back.

Nonlinear functions see each neuron inside the range it had in training: a burst beyond it does not
make a product explode.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nwbdyn.baselines.ladder.smoothing import LogRates
from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.models._core_terms import (
    CURVED,
    LAGS,
    curved_terms,
    finer_terms,
    sender_bins,
    sender_blocks,
    sender_functions,
    two_sided_terms,
)

COMPONENTS = 3  # principal components that gate
MOST_GATES = 8
GATE_LIMIT = 3.0  # sd

Terms = Callable[[np.ndarray, slice], np.ndarray]  # rows, neurons -> (neurons, rows, F)
Senders = Callable[[np.ndarray], np.ndarray]  # rows -> (rows, kinds * N), kind by kind


@dataclass(frozen=True)
class Past:
    """The signals of a recording as terms see them."""

    signals: np.ndarray  # (num_bins, N) traces, or scaled logs of counts, in training sd
    bounded: np.ndarray  # (num_bins, N) the same inside the training range
    smooth: np.ndarray  # (K, num_bins, N) scaled logs of filtered counts; traces: K = 0
    covariates: np.ndarray  # (num_bins, C) training sd
    gates: np.ndarray  # (num_bins, G) population mean, components, covariates
    horizon: int  # bins
    context: int  # bins
    low: np.ndarray  # (N,) training range of the signals
    high: np.ndarray  # (N,)
    window: np.ndarray | None = None  # of counts: see `LogRates`
    scaling: np.ndarray | None = None  # likewise

    @classmethod
    def of(cls, problem: LaggedDesign, rates: LogRates | None = None) -> "Past":
        """Take ranges and components from the training bins.

        Args:
            rates: of counts; the first ones are those of single bins.
        """
        signals = problem.signals[:, : problem.num_neurons] if rates is None else rates.values[0]
        train = signals[problem.train]
        low, high = train.min(axis=0), train.max(axis=0)
        return cls(
            signals=signals,
            bounded=np.clip(signals, low, high),
            smooth=(
                np.zeros((0, *signals.shape), np.float32) if rates is None else rates.values[1:]
            ),
            low=low,
            high=high,
            window=None if rates is None else rates.window,
            scaling=None if rates is None else rates.scaling,
            covariates=problem.signals[:, problem.covariates],
            gates=_gates(problem),
            horizon=problem.horizon,
            context=problem.context,
        )

    def lags(self, order: int) -> Terms:
        """Own lags and the last covariates."""

        def terms(rows: np.ndarray, neurons: slice) -> np.ndarray:
            lags = [self._lag(self.signals, rows, neurons, lag) for lag in range(order)]
            return self._with_covariates(lags, rows)

        return terms

    @property
    def num_rates(self) -> int:
        """Logs of own filtered counts."""
        return 0 if self.scaling is None else len(self.scaling) - 1

    def filtered(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """Own counts through exponentials, and the last covariates."""
        rates = [self._lag(one, rows, neurons, 0) for one in self.smooth]
        return self._with_covariates(rates, rows)

    def filtered_with_window(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """The same, and logs of the mean count of the window."""
        return self._with_covariates(self.rates(rows, neurons), rows)

    def rates(self, rows: np.ndarray, neurons: slice) -> list[np.ndarray]:
        """Logs of own counts through exponentials, then of the mean of the window."""
        rates = [self._lag(one, rows, neurons, 0) for one in self.smooth]
        if self.window is None or self.scaling is None:
            return rates
        mean = self._lag(self.window, rows, neurons, 0)
        for added, centre, sd in self.scaling[1 + len(self.smooth) :, :, neurons, None]:
            rates.append((np.log(mean + added) - centre) / sd)
        return rates

    def intrinsic(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """Lags, tanh, hinges, positive differences, products and smoothed counts of a neuron."""
        terms = [
            self._lag(self.signals, rows, neurons, lag) for lag in range(min(LAGS, self.context))
        ]
        terms += curved_terms(self._curved(rows, neurons), np.tanh)
        terms += self.rates(rows, neurons)
        return np.stack(terms, axis=2)

    def intrinsic_two_sided(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """The same, hinges below the mean, and differences of more than 1 sd."""
        terms = np.stack(two_sided_terms(self._curved(rows, neurons)), axis=2)
        return np.concatenate([self.intrinsic(rows, neurons), terms], axis=2)

    def intrinsic_finer(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """Hinges between those of `own`, on more lags; steep and flat tanh; large differences."""
        return np.stack(finer_terms(self._curved(rows, neurons), np.tanh), axis=2)

    def gated(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """Own terms times each gate."""
        terms = self.intrinsic(rows, neurons)
        gates = self.gates[rows - self.horizon]  # (n, G)
        return (terms[..., None] * gates[None, :, None, :]).reshape(*terms.shape[:2], -1)

    def gain(self, whole: np.ndarray) -> Terms:
        """A neuron's whole input (num_bins, N) times each gate."""

        def terms(rows: np.ndarray, neurons: slice) -> np.ndarray:
            return whole[rows, neurons].T[..., None] * self.gates[rows - self.horizon]

        return terms

    def senders(self) -> dict[str, dict[str, Senders]]:
        """Step of M2 -> its sets of terms, which compete, by name."""
        num_neurons = self.signals.shape[1]
        counts = len(self.smooth) > 0
        blocks = sender_blocks(num_neurons, self.context, counts=counts)
        if counts:
            steps = {
                "rates": {"rates": self._filtered(range(len(self.smooth)))},
                "last bin": {"last bin": self._lagged(1)},
            }
        else:
            bins = sender_bins(num_neurons, self.context)
            steps = {
                "last bin": {name: self._lagged(number) for name, number in bins.items()},
                "functions": {"functions": self._functions},
            }
        return {step: sets for step, sets in steps.items() if step in blocks}

    def _curved(self, rows: np.ndarray, neurons: slice) -> list[np.ndarray]:
        """(neurons, n) lags inside the training range, the last bin seen first."""
        return [
            self._lag(self.bounded, rows, neurons, lag) for lag in range(min(CURVED, self.context))
        ]

    def _with_covariates(self, terms: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """(neurons, n, F)."""
        inputs, shared = np.stack(terms, axis=2), self.covariates[rows - self.horizon]
        beside = np.broadcast_to(shared, (len(inputs), *shared.shape))
        return np.concatenate([inputs, beside], axis=2)

    def _lag(self, of: np.ndarray, rows: np.ndarray, neurons: slice, lag: int) -> np.ndarray:
        """(neurons, n) one lag, 0 is the last bin seen."""
        return of[rows - self.horizon - lag, neurons].T.astype(np.float64)

    def _lagged(self, number: int) -> Senders:
        return lambda rows: np.concatenate(
            [self.signals[rows - self.horizon - lag] for lag in range(number)], axis=1
        ).astype(np.float64)

    def _filtered(self, which: range) -> Senders:
        return lambda rows: np.concatenate(
            [self.smooth[one][rows - self.horizon] for one in which], axis=1
        ).astype(np.float64)

    def _functions(self, rows: np.ndarray) -> np.ndarray:
        last = self.bounded[rows - self.horizon].astype(np.float64)
        before = self.bounded[rows - self.horizon - 1] if self.context > 1 else None
        return np.concatenate(sender_functions(last, before, np.tanh), axis=1)


def _gates(problem: LaggedDesign) -> np.ndarray:
    """(num_bins, G) in training sd, within GATE_LIMIT."""
    signals = problem.signals[:, : problem.num_neurons].astype(np.float64)
    train = signals[problem.train]
    parts = [signals.mean(axis=1, keepdims=True)]
    if problem.num_neurons > 1:
        _, directions = np.linalg.eigh(train.T @ train / len(train))
        parts.append(signals @ directions[:, ::-1][:, :COMPONENTS])
    parts.append(problem.signals[:, problem.covariates])
    gates = np.concatenate(parts, axis=1)[:, :MOST_GATES]
    seen = gates[problem.train]
    sd = seen.std(axis=0)
    scaled = (gates - seen.mean(axis=0)) / np.where(sd > 1e-9, sd, 1)
    return np.clip(scaled, -GATE_LIMIT, GATE_LIMIT)
