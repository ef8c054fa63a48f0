"""The fixed functions of which rungs are made, all of bins that lie at least a horizon back.

Nonlinear functions see each neuron inside the range it had in training: a burst beyond it does not
make a product explode.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nwbdyn.baselines.lagged_design import LaggedDesign

LAGS, CURVED = 10, 5  # own lags; those that enter nonlinear functions too
HINGES = (1.0, 3.0)  # sd above the mean
HINGED = 3  # lags with hinges
LOW_HINGES, FINER_HINGES, SLOPES = (0.5, 1.0), (0.0, 0.5, 2.0), (0.5, 2.0)
PRODUCTS = ((0, 0), (0, 1), (0, 2), (1, 2))  # of own lags, 0 is the last bin seen
SENDER_LAGS = 3
COMPONENTS = 3  # principal components that gate
MOST_GATES = 8
GATE_LIMIT = 3.0  # sd
MAX_INPUTS = 2000  # sender terms of one block: keeps its eigendecomposition short

Terms = Callable[[np.ndarray, slice], np.ndarray]  # rows, neurons -> (neurons, rows, F)


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

    @classmethod
    def of(cls, problem: LaggedDesign, smooth: np.ndarray | None = None) -> "Past":
        """Take ranges and components from the training bins.

        Args:
            smooth: of counts, see `smoothing.log_rates`; the first one is that of single bins.
        """
        signals = problem.signals[:, : problem.num_neurons] if smooth is None else smooth[0]
        train = signals[problem.train]
        return cls(
            signals=signals,
            bounded=np.clip(signals, train.min(axis=0), train.max(axis=0)),
            smooth=np.zeros((0, *signals.shape), np.float32) if smooth is None else smooth[1:],
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

    def filtered(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """Own counts through exponentials, and the last covariates."""
        rates = [self._lag(one, rows, neurons, 0) for one in self.smooth]
        return self._with_covariates(rates, rows)

    def intrinsic(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """Lags, tanh, hinges, positive differences, products and smoothed counts of a neuron."""
        curved = self._curved(rows, neurons)
        terms = [
            self._lag(self.signals, rows, neurons, lag) for lag in range(min(LAGS, self.context))
        ]
        terms += [np.tanh(one) for one in curved]
        terms += [np.maximum(one - hinge, 0) for one in curved[:HINGED] for hinge in HINGES]
        terms += [np.maximum(new - old, 0) for new, old in pairwise(curved)]
        terms += [curved[a] * curved[b] for a, b in PRODUCTS if max(a, b) < len(curved)]
        terms += [self._lag(one, rows, neurons, 0) for one in self.smooth]
        return np.stack(terms, axis=2)

    def intrinsic_two_sided(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """The same, hinges below the mean, and differences of more than 1 sd."""
        curved = self._curved(rows, neurons)
        terms = [np.maximum(-one - hinge, 0) for one in curved[:HINGED] for hinge in LOW_HINGES]
        terms += [np.maximum(new - old - 1, 0) for new, old in pairwise(curved)]
        return np.concatenate([self.intrinsic(rows, neurons), np.stack(terms, axis=2)], axis=2)

    def intrinsic_finer(self, rows: np.ndarray, neurons: slice) -> np.ndarray:
        """Hinges between those of `own`, on more lags; steep and flat tanh; large differences."""
        curved = self._curved(rows, neurons)
        terms = [np.maximum(one - hinge, 0) for one in curved for hinge in FINER_HINGES]
        terms += [np.maximum(-one - hinge, 0) for one in curved for hinge in LOW_HINGES]
        terms += [np.maximum(new - old - 1, 0) for new, old in pairwise(curved)]
        terms += [np.maximum(old - new - 1, 0) for new, old in pairwise(curved)]
        terms += [np.tanh(slope * one) for one in curved for slope in SLOPES]
        return np.stack(terms, axis=2)

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

    def senders(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """name -> function from rows to (n, kinds * N) terms of all senders, kind by kind."""
        if len(self.smooth):
            every = range(len(self.smooth))
            blocks = {"rates": self._filtered(every), "last bin": self._lagged(0, 1)}
        else:
            blocks = {"last bin": self._lagged(0, 1)}
            if self.context > 1:
                blocks["earlier bins"] = self._lagged(1, min(SENDER_LAGS, self.context))
            blocks["functions"] = self._functions
        row = np.array([self.horizon + self.context])
        return {
            name: block
            for name, block in blocks.items()
            if self.signals.shape[1] > 1 and block(row).shape[1] <= MAX_INPUTS
        }

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

    def _lagged(self, first: int, stop: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: np.concatenate(
            [self.signals[rows - self.horizon - lag] for lag in range(first, stop)], axis=1
        ).astype(np.float64)

    def _filtered(self, which: range) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: np.concatenate(
            [self.smooth[one][rows - self.horizon] for one in which], axis=1
        ).astype(np.float64)

    def _functions(self, rows: np.ndarray) -> np.ndarray:
        last = self.bounded[rows - self.horizon].astype(np.float64)
        terms = [np.tanh(last), np.maximum(last - HINGES[0], 0)]
        if self.context > 1:
            terms.append(np.maximum(last - self.bounded[rows - self.horizon - 1], 0))
        return np.concatenate(terms, axis=1)


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
