"""Trials of a fit whose windows are aligned to them: rasters, and mean rates by condition."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from scipy.ndimage import gaussian_filter1d

from nwbdyn.data.splits import GAP, TEST
from nwbdyn.errors import ResultsError
from nwbdyn.nlb import LAYOUTS
from nwbdyn.report import style
from nwbdyn.report.figures.activity import SMOOTHING, chosen, recorded_of
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import surrogates

MOST_CONDITIONS = 6  # columns of panels


def rasters(fit: Fit) -> tuple[Axes, ...]:
    """Spikes in every test trial of three neurons, and their mean below, beside the prediction.

    Raises:
        ValueError: the fit has no trials.
    """
    bins, observed = trial_bins(fit)
    recorded, width = recorded_of(fit)[bins], fit.predictions.bin_width
    predicted = fit.predictions.values[bins]
    time = _time(fit, bins)
    axes = style.panels(2, 3, size=(style.WIDE, 4.0), share_x=True)
    with style.house():
        for column, (word, neuron, score) in enumerate(chosen(fit)):
            raster, mean = axes[column], axes[3 + column]
            counts = np.nan_to_num(recorded[:, :, neuron]).astype(int)
            raster.eventplot(
                [np.repeat(time, row) for row in counts], linewidths=0.6, colors=style.INK
            )
            raster.set_title(f"{word}: neuron {fit.neurons.names[neuron]}, {score}")
            raster.set_ylim(len(counts) - 0.4, -0.6)
            for values, colour, name in (
                (recorded, style.INK, "recorded"),
                (predicted, style.MODEL, "predicted"),
            ):
                rate = _smooth(_mean(values[:, :, neuron]) / width, width)
                mean.plot(time, rate, color=colour, label=name)
            for panel in (raster, mean):
                _shade_unseen(panel, time, observed)
            mean.set_xlabel("time in the trial's window (s)")
            mean.set_ylim(0)
        axes[0].set_ylabel("test trial")
        axes[3].set_ylabel("spikes / s")
        axes[3].legend(loc="best", fontsize=8)
    return axes


def psths(fit: Fit, *, columns: Sequence[str] | None = None) -> tuple[Axes, ...]:
    """Mean rates of three neurons in the conditions with most test trials, smoothed.

    Recorded: over all trials of the condition, with one standard error to each side, because a
    condition has few test trials. Predicted: over its test trials alone.

    Args:
        columns: of the trials, which together make a condition. Default: see `condition_columns`.

    Raises:
        ValueError: the fit has no trials, or nothing is known that tells conditions apart.
        ResultsError: see `conditions`.
    """
    groups = conditions(fit, columns)
    if not groups:
        raise ValueError(
            f"This fit of {fit.model} has no trials, or no column known to tell conditions apart; "
            "name columns."
        )
    width = fit.predictions.bin_width
    bins, observed = trial_bins(fit, None)
    time = _time(fit, bins)
    axes = style.panels(3, len(groups), size=(style.WIDE, 4.6), share_x=True, share_y=True)
    with style.house():
        for row, (word, neuron, _) in enumerate(chosen(fit)):
            line = axes[row * len(groups) : (row + 1) * len(groups)]
            for panel, condition in zip(line, groups, strict=True):
                recorded = recorded_of(fit)[bins[condition.trials], neuron] / width
                recorded = np.where(np.isfinite(recorded), recorded, _mean(recorded))
                smooth = _smooth(recorded, width)
                mean, error = smooth.mean(axis=0), smooth.std(axis=0) / np.sqrt(len(smooth))
                panel.fill_between(
                    time, mean - error, mean + error, color=style.QUIET, alpha=0.35, linewidth=0
                )
                panel.plot(time, mean, color=style.INK, label="recorded")
                predicted = _mean(fit.predictions.values[bins[condition.test], neuron]) / width
                panel.plot(time, _smooth(predicted, width), color=style.MODEL, label="predicted")
                _shade_unseen(panel, time, observed)
            line[0].set_ylabel(f"{word}: {fit.neurons.names[neuron]}\nspikes / s")
            line[0].set_ylim(0)
        for panel, condition in zip(axes, groups, strict=False):
            count = f"{len(condition.trials)} trials, {len(condition.test)} test"
            panel.set_title(f"{condition.name}\n{count}", fontsize=8)
        axes[-len(groups)].set_xlabel("time in the trial's window (s)", loc="left")
        legend = axes[-1].legend(loc="upper right", bbox_to_anchor=(1, -0.15), ncols=2)
        legend.set_in_layout(False)  # it lies beside the label of the first panel
    return axes


@dataclass(frozen=True, eq=False)
class Condition:
    """Trials that are alike."""

    name: str  # the values that make it
    trials: np.ndarray  # rows of all its trials
    test: np.ndarray  # rows of its test trials


def conditions(fit: Fit, columns: Sequence[str] | None = None) -> list[Condition]:
    """The conditions with most test trials, in the order of their names.

    Args:
        columns: of the trials, which together make a condition. Default: `condition_columns`; then
            the list is empty where these tell nothing apart.

    Raises:
        ResultsError: `columns` are given, and the trials do not have them, or are all alike there,
            or there are no trials.
    """
    names = condition_columns(fit) if columns is None else tuple(columns)
    if fit.trials is None or not names:
        if columns is None:
            return []
        raise ResultsError(
            f"The windows of this fit are not trials, so {', '.join(names)!r} says nothing of them."
            " Fit with --trials TABLE."
        )
    for name in names:
        if name not in fit.trials:
            has = ", ".join(other for other in fit.trials if other != "first_bin")
            raise ResultsError(f"The trials have no column {name!r}; they have: {has}.")
    groups = fit.trials.groupby(list(names), sort=True).indices
    if len(groups) < 2 and columns is not None:
        raise ResultsError(f"All trials are alike in {', '.join(names)!r}. Name other columns.")
    tested = split_of_trials(fit) == TEST
    listed = [
        Condition(_words(key), rows, rows[tested[rows]])
        for key, rows in groups.items()
        if tested[rows].any()
    ]
    most = sorted(listed, key=lambda one: -len(one.test))[:MOST_CONDITIONS]
    return [one for one in listed if one in most] if len(groups) > 1 else []


def condition_columns(fit: Fit) -> tuple[str, ...]:
    """The columns that make a condition in a layout of the benchmark, or one that is known.

    Empty where the trials have none of them, or there are no trials.
    """
    if fit.trials is None:
        return ()
    for layout in LAYOUTS.values():
        if layout.conditions and set(layout.conditions) <= set(fit.trials):
            return layout.conditions
    known = surrogates.condition_column(fit.trials)
    return () if known is None else (known,)


def trial_bins(fit: Fit, split: int | None = TEST) -> tuple[np.ndarray, int]:
    """(num_trials, bins) rows of the predictions in each trial, and how many bins were observed.

    Args:
        split: of the trials, see `splits`; None for all of them.

    Raises:
        ValueError: the fit has no trials.
    """
    if fit.trials is None:
        raise ValueError(f"This fit of {fit.model} is not aligned to trials; refit with trials=….")
    context, forward = int(fit.binning["context"]), int(fit.binning["forward"])  # type: ignore[call-overload]
    bins = fit.trials["first_bin"].to_numpy()[:, None] + np.arange(context + forward)
    return bins if split is None else bins[split_of_trials(fit) == split], context


def split_of_trials(fit: Fit) -> np.ndarray:
    """(num_trials,) int, the split of each trial's observed bins; a gap where they differ."""
    bins, observed = trial_bins(fit, None)
    labels = fit.predictions.labels[bins[:, :observed]]
    whole = (labels == labels[:, :1]).all(axis=1)
    return np.where(whole, labels[:, 0], GAP)


def _words(key: object) -> str:
    values = key if isinstance(key, tuple) else (key,)
    return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def _time(fit: Fit, bins: np.ndarray) -> np.ndarray:
    """(bins,) seconds after the start of a trial's window."""
    return (np.arange(bins.shape[1]) + 0.5) * fit.predictions.bin_width


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the trials in which a bin is known; 0 where it is known in none."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def _smooth(rate: np.ndarray, bin_width: float) -> np.ndarray:
    return gaussian_filter1d(rate, SMOOTHING / bin_width, axis=-1)


def _shade_unseen(panel: Axes, time: np.ndarray, observed: int) -> None:
    """Bins of a window that the model did not see."""
    if observed < len(time):
        panel.axvspan(time[observed], time[-1], color=style.QUIET, alpha=0.15, lw=0)
