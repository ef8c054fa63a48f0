"""Spike times in seconds: the unit that was named, and times that cannot be seconds refused."""

import numpy as np

from nwbdyn.data.spike_trains import digits
from nwbdyn.errors import ConfigError, ReadError
from nwbdyn.nwb.read.objects import NwbIndex
from nwbdyn.recording import SpikeTimes

SECONDS, MILLISECONDS = "s", "ms"  # a sampling rate in Hz is the third unit of spike times
SAMPLED_SPIKES = 2_000  # looked at, at each end, to see whether the times are seconds
STRAY = 2  # of the spikes looked at: so few odd times do not speak for the others
FAR_BEYOND = 50.0  # times the recorded span; milliseconds are 1,000 and samples 20,000 times
LONG_GAP = 2.0  # seconds between a unit's spikes; in milliseconds they are hundreds
# Units that fire so rarely for so long are units whose times are milliseconds, more likely than not
SLOW_RATE, LONG_SPAN = 0.05, 36_000.0  # Hz per unit that fires, seconds


def seconds_in(unit: str) -> float:
    """Seconds in one unit of spike times: "s", "ms", or a sampling rate in Hz ("30000").

    Raises:
        ConfigError: it is none of these.
    """
    if unit in (SECONDS, MILLISECONDS):
        return 1.0 if unit == SECONDS else 1e-3
    try:
        rate = float(unit)
    except ValueError:
        rate = 0.0
    if not (np.isfinite(rate) and rate > 0):
        raise ConfigError(
            f"Spike times cannot be in {unit!r}. Choose from: s, ms, or the sampling rate in Hz, "
            "such as 30000."
        )
    return 1 / rate


def check(contents: NwbIndex, path: str, spikes: SpikeTimes, last_time: float) -> None:
    """Refuse spike times that are not seconds, from a look at both ends of the array.

    One or two times far from all others are stray, and do not count here.

    Args:
        contents: the open file.
        path: of the Units table.
        spikes: those of the table.
        last_time: the end of everything else in the file, seconds; NaN when nothing else is timed.

    Raises:
        ReadError: the times are whole numbers (samples), lie far beyond the recording, or would be
            too rare for seconds.
    """
    times = spikes.times
    where = f"{path}/spike_times in {contents.file_name}"
    looked_at = np.concatenate([times[:SAMPLED_SPIKES], times[-SAMPLED_SPIKES:]])
    seen = looked_at[np.isfinite(looked_at)]
    if len(seen) < len(looked_at):
        reason = f"{len(looked_at) - len(seen)} of {len(looked_at)} times looked at are not numbers"
        contents.note("nan-spikes", f"{path}/spike_times", reason)
    if len(seen) < 20:
        return
    seen = _without_stray(seen)
    resolution = spikes.resolution
    rate = f"{1 / resolution:g}" if resolution is not None else "the sampling rate in Hz"
    fix = f"Pass --spike-time-unit: ms, {rate} (samples), or s if they are seconds all the same."
    latest = float(seen.max())
    if np.all(seen == np.round(seen)) and len(np.unique(seen)) > 10:
        raise ReadError(
            f"{where} holds whole numbers only (up to {digits(latest)}), so they are samples or "
            f"milliseconds. {fix}"
        )
    gaps = np.diff(seen)
    gap = float(np.median(gaps[gaps > 0])) if np.any(gaps > 0) else 0.0  # < 0 from unit to unit
    if np.isfinite(last_time) and latest > FAR_BEYOND * max(last_time, 0) and gap > LONG_GAP:
        raise ReadError(
            f"{where} reaches {digits(latest)}, but everything else in the file ends by "
            f"{digits(last_time)} s, so they are not seconds. {fix}"
        )
    span = latest - float(seen.min())
    firing = int(np.count_nonzero(np.diff(spikes.index, prepend=0)))
    per_unit = len(times) / firing
    if span > LONG_SPAN and per_unit < SLOW_RATE * span:
        raise ReadError(
            f"{where} spans {digits(span)}, with {digits(per_unit)} spikes per unit: as seconds "
            f"these are {digits(round(span / 3600))} hours at {per_unit / span:.2g} Hz, so they "
            f"are milliseconds or samples. {fix}"
        )


def _without_stray(seen: np.ndarray) -> np.ndarray:
    """The times but for the one or two that lie more than a span of the others beyond them."""
    ordered = np.sort(seen)
    bulk = ordered[STRAY:-STRAY]
    reach = max(float(bulk[-1] - bulk[0]), 1.0)
    return seen[(seen >= bulk[0] - reach) & (seen <= bulk[-1] + reach)]
