"""Recorded and predicted activity: single neurons, the population."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from scipy.ndimage import gaussian_filter1d

from nwbdyn import metrics
from nwbdyn.data.splits import TEST, TRAIN
from nwbdyn.recording import COUNTS
from nwbdyn.report import style
from nwbdyn.results.fit_results import Fit

MOST_BINS = {COUNTS: 600}  # of one curve; longer ones are shown in part
MOST_FRAMES = 1200
LONG_CLOCK = 1e5  # seconds; a clock that begins later is written as an offset
WORDS = {"dff": "dF/F"}
SMOOTHING = 0.05  # seconds, sd of the Gaussian over recorded spikes where a rate is shown


def predictions(fit: Fit) -> tuple[Axes, ...]:
    """Recorded and predicted activity of the best, the median and the worst neuron on test."""
    predicted, recorded = fit.predictions, recorded_of(fit)
    bins = _shown_bins(fit)
    clock = _clock(fit, bins)
    time = clock.time
    axes = style.panels(3, 1, size=(style.WIDE, 4.6), share_x=True)
    with style.house():
        for panel, (word, neuron, score) in zip(axes, chosen(fit), strict=True):
            values = predicted.values[bins, neuron]
            true = recorded[bins, neuron]
            if predicted.quantity == COUNTS:
                per_second = 1 / predicted.bin_width
                smooth = gaussian_filter1d(np.nan_to_num(true), SMOOTHING / predicted.bin_width)
                panel.plot(time, per_second * smooth, color=style.INK, label="recorded")
                panel.plot(time, per_second * values, color=style.MODEL, label="predicted")
                top = max(float(np.nanmax(per_second * values)), per_second * smooth.max(), 1e-9)
                panel.eventplot(
                    np.repeat(time, np.nan_to_num(true).astype(int)),
                    lineoffsets=-0.12 * top,
                    linelengths=0.14 * top,
                    linewidths=0.6,
                    colors=style.INK,
                )
                panel.set_ylabel("spikes / s")
            else:
                panel.plot(time, true, color=style.INK, label="recorded")
                panel.plot(time, values, color=style.MODEL, label="predicted")
                panel.set_ylabel(WORDS.get(predicted.quantity, predicted.quantity))
            clock.mark(panel)
            panel.set_title(f"{word}: neuron {fit.neurons.names[neuron]}, {score}")
        axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        axes[-1].set_xlabel(clock.label)
    return axes


def population(fit: Fit) -> tuple[Axes, ...]:
    """The first three principal components of the recorded activity, and of the prediction."""
    recorded, scored = recorded_of(fit), scored_neurons(fit)
    values = fit.predictions.values
    train = (fit.predictions.labels == TRAIN) & np.isfinite(recorded[:, scored]).all(axis=1)
    centre = recorded[train][:, scored].mean(axis=0)
    spread = recorded[train][:, scored].std(axis=0)
    spread[spread == 0] = 1
    _, sizes, basis = np.linalg.svd(
        (recorded[train][:, scored] - centre) / spread, full_matrices=False
    )
    share = sizes**2 / (sizes**2).sum()
    bins = _shown_bins(fit)
    clock = _clock(fit, bins)
    count = min(3, len(scored))
    axes = style.panels(count, 1, size=(style.WIDE, 1.3 * count + 0.4), share_x=True)
    sd = SMOOTHING / fit.predictions.bin_width
    with style.house():
        for k, panel in enumerate(axes):
            for source, colour, label in (
                (recorded, style.INK, "recorded"),
                (values, style.MODEL, "predicted"),
            ):
                component = ((source[bins][:, scored] - centre) / spread) @ basis[k]
                if source is recorded and fit.predictions.quantity == COUNTS:
                    component = gaussian_filter1d(np.nan_to_num(component), sd)
                panel.plot(clock.time, component, color=colour, label=label)
            clock.mark(panel)
            panel.set_ylabel(f"PC {k + 1} ({share[k]:.0%})")
        axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        axes[-1].set_xlabel(clock.label)
    return axes


def session_clock(time: np.ndarray) -> tuple[np.ndarray, str]:
    """Seconds as they are drawn, and the label of the axis: a late clock begins at its offset."""
    start = np.floor(time[0]) if len(time) and time[0] > LONG_CLOCK else 0.0
    return time - start, f"time (s) after {start:.0f} s" if start else "time (s)"


def recorded_of(fit: Fit) -> np.ndarray:
    """(num_bins, N) what was recorded, NaN where it was not."""
    recorded = fit.predictions.recorded
    assert recorded is not None, "a saved fit keeps what was recorded"
    return np.asarray(recorded)


def scored_neurons(fit: Fit) -> np.ndarray:
    """Rows whose predictions are predictions: the held-out ones, or all of a next-bin model."""
    held_out = np.flatnonzero(fit.predictions.held_out)
    return held_out if held_out.size else np.arange(len(fit.neurons))


def chosen(fit: Fit) -> list[tuple[str, int, str]]:
    """The best, the median and the worst scored neuron on test: word, row, its score in words."""
    scored = scored_neurons(fit)
    values = np.array([_score(fit, neuron) for neuron in scored])
    order = np.argsort(np.nan_to_num(values, nan=-np.inf))
    words = "{:.2f} bits/spike" if fit.predictions.quantity == COUNTS else "r = {:.2f}"
    return [
        (word, int(scored[row]), words.format(values[row]))
        for word, row in (
            ("best", order[-1]),
            ("median", order[len(order) // 2]),
            ("worst", order[0]),
        )
    ]


def _score(fit: Fit, neuron: int) -> float:
    """Of one neuron on test: bits per spike of counts, correlation of traces."""
    test = fit.predictions.labels == TEST
    true = recorded_of(fit)[test, neuron].astype(float)
    predicted = np.asarray(fit.predictions.values[test, neuron], dtype=float)
    both = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[both], predicted[both]
    if len(true) < 2 or not true.std() or not predicted.std():
        return float("nan")
    if fit.predictions.quantity == COUNTS:
        return metrics.bits_per_spike(true[:, None], predicted[:, None])
    return float(np.corrcoef(true, predicted)[0, 1])


def _shown_bins(fit: Fit) -> np.ndarray:
    """The first test bins with a prediction, as many as a figure can show."""
    scored = scored_neurons(fit)
    known = np.isfinite(fit.predictions.values[:, scored]).any(axis=1)
    bins = np.flatnonzero((fit.predictions.labels == TEST) & known)
    return bins[: MOST_BINS.get(fit.predictions.quantity, MOST_FRAMES)]


@dataclass(frozen=True)
class _Clock:
    """Time axis of some bins: the session's clock, or stretch after stretch."""

    time: np.ndarray  # (num_bins,) seconds
    breaks: np.ndarray  # seconds, ends of the stretches but the last
    label: str

    def mark(self, axes: Axes) -> None:
        for time in self.breaks:
            axes.axvline(time, color=style.QUIET, linewidth=0.6, linestyle=":")


def _clock(fit: Fit, bins: np.ndarray) -> _Clock:
    """Stretches that lie far apart, such as the trials of a split, are set side by side."""
    time, width = fit.predictions.time[bins], fit.predictions.bin_width
    apart = np.flatnonzero(np.diff(bins) > 1) + 1
    if not len(apart):
        since, label = session_clock(time)
        return _Clock(since, np.zeros(0), label)
    joined = (np.arange(len(bins)) + 0.5) * width
    return _Clock(joined, joined[apart] - width / 2, "seconds of test data, stretch after stretch")
