"""Baselines for models that predict held-out neurons from held-in ones at the same time.

Both are Poisson regressions with log link from held-in counts to held-out counts in the same
window, before and after the bin as a co-smoothing model sees them. The smoothing baseline gives the
regression each held-in neuron through one Gaussian; the Poisson GLM gives it three lag groups per
neuron (around the bin, before it, after it) with a weight each. Filters stay inside the window and
are renormalised at its edges.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from nwbdyn.baselines.baseline import Baseline, WindowedRegression
from nwbdyn.baselines.regression import LogScale, PoissonChoice, best_poisson, log_scaled
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import SPLITS, TRAIN, VAL, Split
from nwbdyn.errors import DataError
from nwbdyn.progress import Progress, Report, silent

SMOOTHING_SD = (0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.4)  # seconds
LAG_WIDTHS = (0.02, 0.05, 0.1, 0.2)  # seconds, half the width of the middle lag group


@dataclass(frozen=True)
class WindowedDesign:
    """Held-in counts by window and held-out counts by bin."""

    windows: np.ndarray  # (num_windows, context, num_held_in) float32 counts
    owner: np.ndarray  # (n, 2) window and place in it of each row; a row is one bin
    bins: np.ndarray  # (n,) the bin of each row
    train: np.ndarray  # rows that fit
    val: np.ndarray  # rows that choose
    counts: np.ndarray  # (n, num_held_out)

    def filtered(self, kernels: list[np.ndarray]) -> np.ndarray:
        """(n, F) log rate of each held-in neuron through each (context, context) kernel, scaled."""
        return log_scaled(self._rates(kernels), self.train)

    def regression(self, kernels: list[np.ndarray], choice: PoissonChoice) -> "WindowedRegression":
        """The chosen regression as a function of the counts of a window."""
        scale = LogScale.of(self._rates(kernels)[self.train])
        weights = choice.weights.weights / scale.sd[:, None]
        silent = np.maximum(self.counts[self.train].sum(axis=0), 0.5) / len(self.train)
        groups = (len(kernels), self.windows.shape[2])
        return WindowedRegression(
            filters=np.stack(kernels),
            offset=scale.offset.reshape(groups),
            weights=weights.reshape(*groups, -1),
            bias=choice.weights.bias - scale.mean @ weights,
            ceiling=choice.weights.ceiling,
            ahead=np.log(silent),
        )

    def _rates(self, kernels: list[np.ndarray]) -> np.ndarray:
        """(n, F) counts of every row's window through each kernel."""
        window, offset = self.owner.T
        return np.concatenate([(kernel @ self.windows)[window, offset] for kernel in kernels], 1)


def co_smoothing(
    binned: Binned,
    split: Split,
    starts: np.ndarray | None,
    *,
    context: int,
    reach: np.ndarray | None = None,
    refit: bool = False,
    report: Report = silent,
) -> dict[str, Baseline]:
    """Predict held-out neurons from the held-in neurons of the same window.

    Args:
        starts: (num_windows,) first bin of every window of every split, or None: windows of
            `context` bins end to end through every unbroken stretch of one split, the last of a
            stretch moved back to fit.
        context: observed bins per window. Of overlapping windows, a bin belongs to the one where
            it lies farthest from an edge.
        reach: (num_bins,) bins that belong to the trial of a window that begins here; a window
            shows nothing behind them. By default all.
        refit: fit the regressions that are chosen on the validation windows too.

    Returns:
        "smoothing + GLM" and "Poisson GLM", with NaN for held-in neurons and outside the windows.

    Raises:
        DataError: no held-out neuron, no held-in neuron, or no window in training or validation.
    """
    problem = _problem(binned, split, starts, context, reach)
    smoothing = {
        _smoothing_label(sd): [_gaussian(context, sd / binned.bin_width)] for sd in SMOOTHING_SD
    }
    half_widths = {max(1, round(width / binned.bin_width)): None for width in LAG_WIDTHS}
    groups = {
        f"3 groups of {2 * half + 1} lags": _lag_groups(context, half)
        for half in half_widths
        if half == 1 or half < context / 2
    }
    baselines: dict[str, Baseline] = {}
    for name, kernels in (("smoothing + GLM", smoothing), ("Poisson GLM", groups)):
        report(Progress("baselines", len(baselines), 2, "fits"))
        baselines[name] = _regression(name, binned, split, problem, kernels, refit)
    report(Progress("baselines", 2, 2, "fits"))
    return baselines


def smoothed(baseline: Baseline, counts: np.ndarray, *, bin_width: float) -> np.ndarray:
    """Counts of windows through the Gaussian that "smoothing + GLM" chose on validation.

    Args:
        counts: (num_windows, num_bins, N).

    Returns:
        The same shape: expected counts per bin.
    """
    (sd,) = (sd for sd in SMOOTHING_SD if _smoothing_label(sd) == baseline.chosen["filter"])
    return _gaussian(counts.shape[1], sd / bin_width) @ counts


def _smoothing_label(sd: float) -> str:
    return f"Gaussian, sd {sd:g} s"


def _regression(
    name: str,
    binned: Binned,
    split: Split,
    problem: WindowedDesign,
    kernels: dict[str, list[np.ndarray]],
    refit: bool,
) -> Baseline:
    choice = best_poisson(
        {label: partial(problem.filtered, kernel) for label, kernel in kernels.items()},
        problem.counts,
        train=problem.train,
        val=problem.val,
        final=np.concatenate([problem.train, problem.val]) if refit else None,
    )
    prediction = np.full(binned.values.shape, np.nan)
    prediction[np.ix_(problem.bins, ~split.held_in)] = choice.rates
    return Baseline(
        name,
        prediction,
        choice.chosen("filter"),
        validation=choice.validation,
        regression=problem.regression(kernels[choice.inputs], choice),
    )


def _problem(
    binned: Binned,
    split: Split,
    starts: np.ndarray | None,
    context: int,
    reach: np.ndarray | None,
) -> WindowedDesign:
    if split.held_in.all() or not split.held_in.any():
        raise DataError(
            f"co-smoothing needs held-in and held-out neurons; {int(split.held_in.sum())} of "
            f"{binned.num_neurons} neurons are held in."
        )
    if starts is None:
        starts = _end_to_end(binned, split, context)
    starts = np.sort(np.asarray(starts, dtype=np.int64))
    places = np.arange(context)
    bins = starts[:, None] + places  # (num_windows, context)
    depth = np.broadcast_to(np.minimum(places, context - 1 - places), bins.shape)
    order = np.argsort(-depth.ravel(), kind="stable")  # deepest first, earlier window on a tie
    owned, first = np.unique(bins.ravel()[order], return_index=True)
    owner = np.stack(np.unravel_index(order[first], bins.shape), axis=1)
    seen = binned.valid[owned]
    owned, owner = owned[seen], owner[seen]
    labels = split.labels[owned]
    train, val = np.flatnonzero(labels == TRAIN), np.flatnonzero(labels == VAL)
    for label, rows in ((TRAIN, train), (VAL, val)):
        if not len(rows):
            raise DataError(
                f"no {SPLITS[label]} window of {context} bins for the baselines "
                f"({int(np.sum(split.labels == label))} {SPLITS[label]} bins in all); shorten the "
                "window or lengthen the recording."
            )
    # As the model sees them: no count above the largest in training, none behind a trial.
    largest = binned.values.max(where=(split.bins("train") & binned.valid)[:, None], initial=0)
    windows = np.minimum(binned.values[:, split.held_in], largest).astype(np.float32)[bins]
    if reach is not None:
        windows[places >= reach[starts][:, None]] = 0
    counts = binned.values[owned][:, ~split.held_in]
    return WindowedDesign(windows, owner, owned, train, val, counts)


def _end_to_end(binned: Binned, split: Split, context: int) -> np.ndarray:
    """First bins of windows that tile every unbroken stretch of one label."""
    observed = binned.valid
    breaks = (
        (binned.segment[1:] != binned.segment[:-1])
        | (split.labels[1:] != split.labels[:-1])
        | (observed[1:] != observed[:-1])
    )
    edges = np.r_[0, np.flatnonzero(breaks) + 1, len(observed)]
    starts: list[int] = []
    for start, stop in pairwise(edges):
        if observed[start] and stop - start >= context:
            starts += range(start, stop - context + 1, context)
            if (stop - start) % context:
                starts.append(stop - context)
    return np.array(starts, dtype=np.int64)


def _gaussian(context: int, sd: float) -> np.ndarray:
    """(context, context) Gaussian weights of each bin's neighbours, summing to 1 in the window."""
    lag = np.arange(context)[None, :] - np.arange(context)[:, None]
    weights = np.exp(-0.5 * (lag / sd) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _lag_groups(context: int, half: int) -> list[np.ndarray]:
    """Means over lags -half..half, over the 2 half + 1 before them, and over as many after.

    A group that lies wholly outside the window is replaced by the window's mean.
    """
    lag = np.arange(context)[None, :] - np.arange(context)[:, None]
    groups = [np.abs(lag) <= half]
    groups += [(sign * lag > half) & (sign * lag <= 3 * half + 1) for sign in (-1, 1)]
    inside = [group | ~group.any(axis=1, keepdims=True) for group in groups]
    return [(group / group.sum(axis=1, keepdims=True)).astype(np.float32) for group in inside]
