"""The benchmark's tensors, straight from spike times.

Names, order and values are those of the published data: trials in file order, units by ascending
id within held-in and held-out, counts on the grid of `clock`, NaN where a bin's first millisecond
was not observed. No array is longer than the trials, whatever the recording's length.
"""

import numpy as np
import pandas as pd
from scipy.signal import decimate

from nwbdyn.clock import grid_ceil, grid_index, milliseconds, observed, whole_ms
from nwbdyn.errors import DataError
from nwbdyn.nlb.alignment import jitter
from nwbdyn.nlb.layouts import Layout, recognise
from nwbdyn.recording import Recording, SpikeTimes


def tensors(
    train: Recording, test: Recording | None = None, *, bin_width: float = 0.005
) -> dict[str, np.ndarray]:
    """What a model of the benchmark is fitted to, and what it is asked about.

    With the test file, the test phase: train and val trials train, and only the held-in units of
    the test trials are known. Without it, the validation phase: train trials train, val trials are
    asked about.

    Returns:
        float32 arrays (num_trials, num_bins, num_units): `train_spikes_heldin`, `…_heldout`,
        `…_heldin_forward`, `…_heldout_forward`, `eval_spikes_heldin`, and in the validation phase
        `eval_spikes_heldout`; with them `train_behavior` (see `targets`).

    Raises:
        DataError: not a recording of the benchmark, no such trials, or other units in the test.
    """
    layout = _layout_of(train)
    learned = _trials(train, layout, "train" if test is None else "train val")
    asked_of = train if test is None else test
    asked = _trials(asked_of, layout, "val" if test is None else "test")
    held_in, held_out = _units(train, held_out=False), _units(train, held_out=True)
    cut = _Cut(layout, bin_width)
    starts, later = cut.starts(learned)
    found = {
        "train_spikes_heldin": cut.counts(train, held_in, starts, cut.observed),
        "train_spikes_heldout": cut.counts(train, held_out, starts, cut.observed),
        "train_spikes_heldin_forward": cut.counts(train, held_in, later, cut.forward),
        "train_spikes_heldout_forward": cut.counts(train, held_out, later, cut.forward),
        "train_behavior": cut.behaviour(train, learned),
    }
    starts, _ = cut.starts(asked)
    known = held_in if test is None else _units(test, held_out=False)
    if not np.array_equal(train.neurons.ids[held_in], asked_of.neurons.ids[known]):
        raise DataError(
            f"{asked_of.source.name} has other held-in units than {train.source.name}; "
            "the two must be the files of one session."
        )
    found["eval_spikes_heldin"] = cut.counts(asked_of, known, starts, cut.observed)
    if test is None:
        found["eval_spikes_heldout"] = cut.counts(train, held_out, starts, cut.observed)
    return found


def targets(train: Recording, *, bin_width: float = 0.005) -> dict[str, np.ndarray]:
    """What predictions for the val trials are scored against.

    Returns:
        `eval_spikes_heldout` and the `eval_spikes_…_forward` of both groups (num_trials, num_bins,
        num_units), NaN = not scored (DMFC_RSG: outside Set to Go); `train_behavior` and
        `eval_behavior`: velocities at the layout's lag (num_trials, num_bins, 2) in the recording's
        unit, or DMFC_RSG's trial columns is_eye, theta, is_short, ts, tp, NaN for outliers; for
        Area2_Bump `train_decode_mask` and `eval_decode_mask` (num_trials, 2): active, passive.

    Raises:
        DataError: as `tensors`.
    """
    layout = _layout_of(train)
    cut = _Cut(layout, bin_width)
    learned, asked = _trials(train, layout, "train"), _trials(train, layout, "val")
    held_in, held_out = _units(train, held_out=False), _units(train, held_out=True)
    starts, later = cut.starts(asked)
    scored = cut.counts(train, held_out, starts, cut.observed)
    if layout.jitter:
        begin = grid_ceil(asked["set_time"].to_numpy(float), bin_width)
        end = grid_ceil(asked["go_time"].to_numpy(float), bin_width)
        bins = starts[:, None] + np.arange(cut.observed)
        scored[(bins < begin[:, None]) | (bins >= end[:, None])] = np.nan
    found = {
        "eval_spikes_heldout": scored,
        "train_behavior": cut.behaviour(train, learned),
        "eval_behavior": cut.behaviour(train, asked),
        "eval_spikes_heldin_forward": cut.counts(train, held_in, later, cut.forward),
        "eval_spikes_heldout_forward": cut.counts(train, held_out, later, cut.forward),
    }
    if layout.name == "area2_bump":
        for name, trials in (("train", learned), ("eval", asked)):
            passive = trials["ctr_hold_bump"].to_numpy().astype(bool)
            found[f"{name}_decode_mask"] = np.stack([~passive, passive], axis=1)
    return found


class _Cut:
    """Windows of a layout at one bin width."""

    def __init__(self, layout: Layout, bin_width: float) -> None:
        width_ms, (low, high) = whole_ms(bin_width), layout.window
        if width_ms is None or (high - low) % width_ms or layout.forward % width_ms:
            raise DataError(
                f"Bins of {bin_width * 1000:g} ms do not divide the windows of {layout.name}; "
                "the benchmark's are 5 or 20 ms."
            )
        self.layout, self.bin_width, self.width_ms = layout, bin_width, width_ms
        self.observed, self.forward = (high - low) // width_ms, layout.forward // width_ms

    def starts(self, trials: pd.DataFrame, *, lag_ms: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """First bins, numbered from 0 s, of the observed and of the forward windows."""
        times = trials[self.layout.align].to_numpy(float) * 1000 + lag_ms
        if self.layout.jitter:
            times = times + jitter(trials, self.bin_width)
        low, high = self.layout.window
        return (
            grid_ceil((times + low) / 1000, self.bin_width),
            grid_ceil((times + high) / 1000, self.bin_width),
        )

    def counts(
        self, recording: Recording, units: np.ndarray, starts: np.ndarray, length: int
    ) -> np.ndarray:
        """(num_trials, length, num_units) float32, NaN where the units were not observed."""
        spikes = recording.activity
        assert isinstance(spikes, SpikeTimes)
        counted = np.empty((len(starts), length, len(units)), dtype=np.float32)
        for column, unit in enumerate(units):
            times = spikes.of(int(unit))
            bins = np.sort(grid_index(times[observed(times, spikes.intervals)], self.bin_width))
            counted[:, :, column] = _in_windows(bins, starts, length)
        begin = (starts[:, None] + np.arange(length)) * self.bin_width
        counted[~observed(begin.ravel(), spikes.intervals).reshape(begin.shape)] = np.nan
        return counted

    def behaviour(self, recording: Recording, trials: pd.DataFrame) -> np.ndarray:
        """What rates are decoded to: velocity in lagged windows, or columns of the trials."""
        layout = self.layout
        if layout.velocity is None:
            columns = ["is_eye", "theta", "is_short", "ts", "tp"]
            values = trials[columns].to_numpy(float)
            values[trials["is_outlier"].to_numpy().astype(bool)] = np.nan
            return values
        velocity = self._resampled(recording, layout.velocity)
        first, _ = self.starts(trials, lag_ms=layout.velocity_lag or 0)
        bins = first[:, None] + np.arange(self.observed)
        inside = (bins >= 0) & (bins < len(velocity))
        values = velocity[np.where(inside, bins, 0)]
        values[~inside] = np.nan
        return values

    def _resampled(self, recording: Recording, name: str) -> np.ndarray:
        """(num_bins, K) of the whole recording: 1 kHz, anti-aliased (501 taps), every n-th sample.

        Gaps are bridged by straight lines for the filter only and are NaN in the result.
        """
        covariate = recording.covariate(name)
        at = milliseconds(np.asarray(covariate.timestamps[:]) + 1e-6)
        samples = np.asarray(covariate.data[:])
        dense = np.full((max(_last_ms(recording), int(at[-1]) + 1), samples.shape[1]), np.nan)
        dense[at] = samples
        missing = np.isnan(dense)
        for channel, absent in zip(dense.T, missing.T, strict=True):
            channel[absent] = np.interp(
                np.flatnonzero(absent), np.flatnonzero(~absent), channel[~absent]
            )
        resampled = decimate(dense, self.width_ms, n=500, ftype="fir", axis=0)
        resampled[missing[:: self.width_ms]] = np.nan
        return resampled


def _in_windows(bins: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """(num_trials, length) how many of the sorted `bins` are each bin of each window."""
    first, last = np.searchsorted(bins, starts), np.searchsorted(bins, starts + length)
    number = last - first
    trial = np.repeat(np.arange(len(starts)), number)
    spike = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number - first, number)
    flat = trial * length + bins[spike] - starts[trial]
    return np.bincount(flat, minlength=len(starts) * length).reshape(len(starts), length)


def _layout_of(recording: Recording) -> Layout:
    layout = recognise(recording)
    if layout is None:
        raise DataError(
            f"{recording.source.name} does not have the layout of a Neural Latents data set: units "
            "with `heldout`, and its trial columns."
        )
    return layout


def _trials(recording: Recording, layout: Layout, names: str) -> pd.DataFrame:
    """Trials of these splits that can be aligned, in file order; a test file may name no split."""
    trials = recording.trials
    if trials is None or layout.align not in trials:
        raise DataError(f"{recording.source.name} has no trials with a column {layout.align!r}.")
    if "split" in trials:
        trials = trials[trials["split"].isin(names.split())]
    elif names != "test":
        trials = trials[:0]
    trials = trials[np.isfinite(trials[layout.align].to_numpy(float))]
    if not len(trials):
        raise DataError(f"{recording.source.name} has no {names} trials with a {layout.align}.")
    return trials


def _units(recording: Recording, *, held_out: bool) -> np.ndarray:
    """Rows of the held-out or the held-in units, by ascending id."""
    rows = np.flatnonzero(recording.neurons.table["heldout"].to_numpy().astype(bool) == held_out)
    return rows[np.argsort(recording.neurons.ids[rows], kind="stable")]


def _last_ms(recording: Recording) -> int:
    """Where the published clock ends: with the observed intervals, or the last trial if later."""
    spikes, trials = recording.activity, recording.trials
    assert isinstance(spikes, SpikeTimes)
    assert trials is not None
    last = float(trials["stop_time"].iloc[-1])
    if spikes.intervals is not None and len(spikes.intervals):
        last = max(last, float(spikes.intervals.max()))
    return round(last * 1000)
