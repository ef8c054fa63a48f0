"""Trials of a layout cut into counts and behaviour on the grid of `clock`, from spike times."""

import numpy as np
import pandas as pd
from scipy.signal import decimate

from nwbdyn.data.clock import grid_ceil, milliseconds, observed, whole_ms
from nwbdyn.errors import DataError
from nwbdyn.nlb import bounds
from nwbdyn.nlb.alignment import jitter
from nwbdyn.nlb.layouts import Layout
from nwbdyn.nlb.moments import Moments, moments_of
from nwbdyn.recording import Recording, SpikeTimes

PRODUCED = ["is_eye", "theta", "is_short", "ts", "tp"]  # DMFC_RSG's behaviour, per trial


class Cut:
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

    def starts(self, trials: pd.DataFrame, *, lag_ms: int = 0) -> np.ndarray:
        """(num_trials,) int64 first bins of the windows, numbered from 0 s."""
        times = trials[self.layout.align].to_numpy(float) * 1000 + lag_ms
        if self.layout.jitter:
            times = times + jitter(trials, self.bin_width)
        return grid_ceil((times + self.layout.window[0]) / 1000, self.bin_width)

    def observed_and_forward(
        self, recording: Recording, units: np.ndarray, starts: np.ndarray, moments: Moments
    ) -> tuple[np.ndarray, np.ndarray]:
        """Counts of the observed bins and of the forward bins after them; views of one array."""
        length = self.observed + self.forward
        counted = self.counts(recording, units, starts, length, moments=moments)
        return counted[:, : self.observed], counted[:, self.observed :]

    def counts(
        self,
        recording: Recording,
        units: np.ndarray,
        starts: np.ndarray,
        length: int,
        *,
        moments: Moments | None = None,
    ) -> np.ndarray:
        """(num_trials, length, num_units) float32, NaN where the units were not observed.

        Args:
            recording: with spike times.
            units: rows of the units, in the order of the result.
            starts: (num_trials,) first bins, numbered from 0 s.
            length: bins per trial.
            moments: the recording's spikes, where they are cut more than once.
        """
        spikes = recording.activity
        assert isinstance(spikes, SpikeTimes)
        moments = moments or moments_of(recording)
        counted = np.zeros((len(starts) * length, len(units)), dtype=np.float32)
        for column, unit in enumerate(units):
            rows, number = moments.in_windows(
                int(unit), starts * self.width_ms, length, self.width_ms
            )
            counted[rows, column] = number
        begin = (starts[:, None] + np.arange(length)) * self.bin_width
        unseen = ~observed(begin.ravel(), spikes.intervals)
        if unseen.any():
            counted[unseen] = np.nan
        return counted.reshape(len(starts), length, len(units))

    def belongs(
        self, recording: Recording, trials: pd.DataFrame, starts: np.ndarray, later: np.ndarray
    ) -> np.ndarray:
        """(num_trials, forward) bool, the forward bins that belong to their trial.

        Args:
            recording: with spike times and trials.
            trials: of the windows.
            starts: (num_trials,) first bins of the windows, numbered from 0 s.
            later: (num_trials, forward, num_units) counts, NaN where the units were not observed.
        """
        spikes, among = recording.activity, recording.trials
        assert isinstance(spikes, SpikeTimes)
        assert among is not None
        stated = spikes.intervals is not None
        ends = bounds.ends(trials, among, self.bin_width, observation_stated=stated)
        bins = starts[:, None] + self.observed + np.arange(self.forward)
        seen = np.isfinite(later).all(axis=2)
        return bounds.unbroken(seen) & (bins < ends[:, None])

    def between(
        self, trials: pd.DataFrame, starts: np.ndarray, first: str, last: str
    ) -> np.ndarray:
        """(num_trials, observed) bool, the bins from one event of each trial to another."""
        begin = grid_ceil(trials[first].to_numpy(float), self.bin_width)
        end = grid_ceil(trials[last].to_numpy(float), self.bin_width)
        bins = starts[:, None] + np.arange(self.observed)
        return (bins >= begin[:, None]) & (bins < end[:, None])

    def has_behaviour(self, recording: Recording) -> bool:
        """True when the recording has what rates are decoded to."""
        if self.layout.velocity is None:
            return recording.trials is not None and {*PRODUCED, "is_outlier"} <= set(
                recording.trials
            )
        return any(covariate.name == self.layout.velocity for covariate in recording.covariates)

    def behaviour(self, recording: Recording, trials: pd.DataFrame) -> np.ndarray:
        """Decoding targets: velocity in lagged windows, or columns of the trials."""
        layout = self.layout
        if layout.velocity is None:
            values = trials[PRODUCED].to_numpy(float, copy=True)
            values[trials["is_outlier"].to_numpy().astype(bool)] = np.nan
            return values
        velocity = self._resampled(recording, layout.velocity)
        first = self.starts(trials, lag_ms=layout.velocity_lag or 0)
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


def _last_ms(recording: Recording) -> int:
    """End of the published clock: of the observed intervals, or of the last trial if later."""
    spikes, trials = recording.activity, recording.trials
    assert isinstance(spikes, SpikeTimes)
    assert trials is not None
    last = float(trials["stop_time"].iloc[-1])
    if spikes.intervals is not None and len(spikes.intervals):
        last = max(last, float(spikes.intervals.max()))
    return round(last * 1000)
