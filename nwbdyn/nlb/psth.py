"""Peristimulus time histograms of every condition, which the mean predicted rates are held against.

Spikes are smoothed at 1 ms by a Gaussian of the layout's width (3 sd to each side, zero beyond an
interval of observation), summed into bins and averaged over the condition's trials. Smoothing comes
after the sum over trials here, which gives the same numbers and costs as little as the conditions.
"""

import numpy as np
import pandas as pd
from scipy.signal import fftconvolve
from scipy.signal.windows import gaussian

from nwbdyn.data.clock import grid_ceil, observed
from nwbdyn.nlb.alignment import jitter
from nwbdyn.nlb.cut import Cut
from nwbdyn.nlb.moments import moments_of
from nwbdyn.recording import Recording, SpikeTimes

SHORT = 0.8  # of the mean length of a condition's trials; shorter ones are left out


def psths(
    cut: Cut,
    recording: Recording,
    units: np.ndarray,
    learned: pd.DataFrame,
    rows_of: pd.DataFrame,
) -> dict[str, np.ndarray]:
    """PSTHs over all trials, and the evaluated trials of each condition.

    DMFC_RSG: Set to Go, aligned to Go at the end, without outliers, as long as the condition's
    shortest trial.

    Args:
        units: rows of the units, in the order of the result.
        learned, rows_of: trials that can be aligned.

    Returns:
        `psth` (num_conditions, num_bins, num_units) counts per bin, NaN where there is none;
        `eval_cond_idx` (num_conditions,) arrays of rows of `rows_of`; with jittered windows
        `eval_jitter` (num_trials,) bins by which each window ends late. Empty where the layout or
        the recording knows no conditions.
    """
    layout = cut.layout
    names = list(layout.conditions)
    if not names or not set(names) <= set(rows_of) or not set(names) <= set(learned):
        return {}
    trials = pd.concat([learned, rows_of])
    trials = trials[~trials.index.duplicated()].dropna(subset=names)
    if layout.jitter:
        trials = trials[~trials["is_outlier"].to_numpy().astype(bool)]
    if not len(trials):
        return {}
    condition, _ = pd.factorize(pd.MultiIndex.from_frame(trials[names]), sort=True)
    starts = grid_ceil(
        trials[layout.align].to_numpy(float) + layout.window[0] / 1000, cut.bin_width
    )
    lengths = np.full(len(trials), cut.observed)
    if layout.jitter:
        lengths = cut.between(trials, starts, "set_time", "go_time").sum(axis=1)
    condition[lengths < SHORT * _means(lengths, condition)[condition]] = -1
    means = _smoothed(cut, recording, units, starts, condition)
    for number, psth in enumerate(means):
        shortest = lengths[condition == number].min()
        psth[: cut.observed - shortest] = np.nan
    of_trial = pd.Series(condition, index=trials.index).reindex(rows_of.index, fill_value=-1)
    rows = np.empty(len(means), dtype=object)
    for number in range(len(means)):
        rows[number] = np.flatnonzero(of_trial.to_numpy() == number)
    tables = {"psth": means, "eval_cond_idx": rows}
    if layout.jitter:
        late = jitter(rows_of, cut.bin_width) / cut.width_ms
        tables["eval_jitter"] = np.round(late).astype(np.int64)
    return tables


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return np.bincount(group, weights=values) / np.bincount(group)


def _smoothed(
    cut: Cut, recording: Recording, units: np.ndarray, starts: np.ndarray, condition: np.ndarray
) -> np.ndarray:
    """(num_conditions, observed, num_units) mean smoothed counts; a condition of -1 is left out."""
    spikes = recording.activity
    assert isinstance(spikes, SpikeTimes)
    sd = cut.layout.psth_sd
    assert sd is not None
    kernel = gaussian(int(6 * sd), sd)
    kernel = (kernel / kernel.sum())[:, None]
    used = condition >= 0
    condition, first = condition[used], starts[used] * cut.width_ms - 3 * sd
    length = cut.observed * cut.width_ms + 6 * sd  # ms, 3 sd around the window
    clock = (first[:, None] + np.arange(length)) / 1000
    seen = observed(clock.ravel(), spikes.intervals).reshape(clock.shape)
    # trials of one condition that were observed in the same milliseconds are summed
    group, members = _groups(condition, seen)
    moments = moments_of(recording)
    summed = np.zeros((len(members), length, len(units)))
    for column, unit in enumerate(units):
        at, number = moments.in_windows(int(unit), first, length)
        np.add.at(summed[:, :, column], (group[at // length], at % length), number)
    total = np.zeros((condition.max() + 1, cut.observed, len(units)))
    number = np.zeros(total.shape[:2])
    for counts, (trial, size) in zip(summed, members, strict=True):
        smooth = np.zeros_like(counts)
        for run in _runs(seen[trial]):
            smooth[run] = fftconvolve(counts[run], kernel, mode="same", axes=0)
        inside = slice(3 * sd, length - 3 * sd)
        binned = smooth[inside].reshape(cut.observed, cut.width_ms, -1).sum(axis=1)
        known = seen[trial, inside][:: cut.width_ms]  # a bin counts if its first millisecond does
        total[condition[trial]] += np.where(known[:, None], binned, 0)
        number[condition[trial]] += size * known
    number[number == 0] = np.nan
    return total / number[:, :, None]


def _groups(condition: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """(num_trials,) number of each trial's group; per group its first trial and its size."""
    keys = [(int(c), row.tobytes()) for c, row in zip(condition, seen, strict=True)]
    numbers: dict[tuple[int, bytes], int] = {}
    group = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    first = np.unique(group, return_index=True)[1]
    sizes = np.bincount(group)
    return group, list(zip(first.tolist(), sizes.tolist(), strict=True))


def _runs(seen: np.ndarray) -> list[slice]:
    """The stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], seen.astype(np.int8), [0]])))
    return [slice(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]
