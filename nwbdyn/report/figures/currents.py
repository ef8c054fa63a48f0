"""SynapsNet's input currents, and whether they run ahead of the activity they should drive."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nwbdyn.data.splits import TEST
from nwbdyn.report import style
from nwbdyn.report.figures.activity import chosen, recorded_of, session_clock
from nwbdyn.results.fit_results import Fit

MOST_FRAMES = 600  # of one curve
MOST_LAGS = 5  # bins to each side


def currents(fit: Fit) -> tuple[Axes, ...]:
    """Input current and recorded activity of three neurons on test, both z-scored there."""
    known = np.isfinite(_currents_of(fit)).any(axis=1)
    bins = np.flatnonzero((fit.predictions.labels == TEST) & known)[:MOST_FRAMES]
    time, label = session_clock(fit.predictions.time[bins])
    axes = style.panels(3, 1, size=(style.WIDE, 4.0), share_x=True)
    with style.house():
        for panel, (word, neuron, _) in zip(axes, chosen(fit), strict=True):
            panel.plot(
                time, _z(recorded_of(fit)[bins, neuron]), color=style.INK, label="recorded activity"
            )
            panel.plot(
                time,
                _z(_currents_of(fit)[bins, neuron]),
                color=style.CATEGORIES[2],
                label="input current",
            )
            panel.set_title(f"{word}: neuron {fit.neurons.names[neuron]}")
            panel.set_ylabel("sd")
        axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        axes[-1].set_xlabel(label)
    return axes


def cross_correlogram(fit: Fit, axes: Axes | None = None) -> Axes:
    """Correlation of a neuron's input current with its activity some bins later, over neurons.

    Median and quartiles. A current that helps to predict is more like the next bin (lag +1) than
    like the bin before (lag -1).
    """
    table = lagged(fit)
    axes = style.axes_or(axes)
    with style.house():
        low, middle, high = (table.quantile(q) for q in (0.25, 0.5, 0.75))
        axes.fill_between(table.columns, low, high, color=style.CATEGORIES[2], alpha=0.25, lw=0)
        axes.plot(table.columns, middle, "o-", color=style.CATEGORIES[2], markersize=4)
        axes.axvline(0, color=style.INK, linewidth=0.5)
        axes.set_xticks(range(-MOST_LAGS, MOST_LAGS + 1))
        axes.set_xlabel("activity comes later by … bins")
        axes.set_ylabel("correlation with the current")
    return axes


def lagged(fit: Fit) -> pd.DataFrame:
    """Correlation of I_i(t) with x_i(t + lag) on test; one row per neuron, one column per lag."""
    test = fit.predictions.labels == TEST
    current = np.where(test[:, None], _currents_of(fit), np.nan)
    activity = np.where(test[:, None], recorded_of(fit), np.nan)
    lags = range(-MOST_LAGS, MOST_LAGS + 1)
    columns = {lag: _correlations(*_shifted(current, activity, lag)) for lag in lags}
    return pd.DataFrame(columns, index=fit.neurons.ids)


def _shifted(current: np.ndarray, activity: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both that belong together when the activity comes `lag` bins later."""
    stop = len(current) - abs(lag)
    if lag >= 0:
        return current[:stop], activity[lag:]
    return current[-lag:], activity[:stop]


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) Pearson correlation of the columns where both are known; NaN for constant ones."""
    both = np.isfinite(a) & np.isfinite(b)
    number = both.sum(axis=0)
    a, b = (np.where(both, values, 0.0) for values in (a, b))
    safe = np.maximum(number, 1)
    a, b = (np.where(both, values - values.sum(axis=0) / safe, 0.0) for values in (a, b))
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return (a * b).sum(axis=0) / np.where((number > 2) & (size > 0), size, np.nan)


def _currents_of(fit: Fit) -> np.ndarray:
    assert fit.currents is not None, "only SynapsNet has input currents"
    return np.asarray(fit.currents)


def _z(values: np.ndarray) -> np.ndarray:
    sd = np.nanstd(values)
    return (values - np.nanmean(values)) / (sd or 1)
