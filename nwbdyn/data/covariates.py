"""Behaviour, stimuli and events on the clock of the bins, strictly causal."""

from collections.abc import Sequence

import numpy as np

from nwbdyn.data import events
from nwbdyn.data.clock import INSTANT, Clock, increasing
from nwbdyn.data.trials import tables
from nwbdyn.errors import DataError
from nwbdyn.recording import Covariate, Note, Recording

STALE = 1.5  # sample intervals (or one bin, if longer) after which a sample no longer stands


def resample(
    recording: Recording, names: Sequence[str], clock: Clock, valid: np.ndarray, notes: list[Note]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each bin's last finite sample of the named covariates, and what named events leave behind.

    Returns:
        (num_bins, K) float32, NaN where the last sample is stale or there is none yet; and the K
        names, one per channel: "running", "hand_vel[x]", "licks[0]" (see `events`). A channel
        without a number in any `valid` bin is left out, with a note.

    Raises:
        DataError: the recording has no such covariate and no such table of events.
    """
    columns: list[np.ndarray] = []
    labels: list[str] = []
    for name in names:
        for label, column in _named(recording, name, clock):
            present = np.isfinite(column[valid])
            if not present.any():
                notes.append(Note("all-nan", label, "no number in the recorded bins; left out"))
                continue
            if not present.all():
                absent = f"{(~present).sum()} of {len(present)} usable bins"
                reason = f"{absent} have no recent sample; models see the mean there"
                notes.append(Note("covariate-gaps", label, reason))
            columns.append(column)
            labels.append(label)
    empty = np.zeros((len(clock), 0), dtype=np.float32)
    return (np.stack(columns, axis=1) if columns else empty), tuple(labels)


def _named(recording: Recording, name: str, clock: Clock) -> list[tuple[str, np.ndarray]]:
    """(label, (num_bins,) float32) of every channel of a covariate or of a table of events."""
    try:
        return _channels(recording.covariate(name), clock)
    except KeyError as error:
        found = events.covariates(recording, name, clock)
        if found is None:
            there = ", ".join(tables(recording)) or "none"
            raise DataError(
                f"{recording.source.name} has {error.args[0]}; tables of events: {there}."
            ) from None
        return list(found.items())


def _channels(covariate: Covariate, clock: Clock) -> list[tuple[str, np.ndarray]]:
    """(name, (num_bins,) float32) of every channel: its last finite sample before the bin's end."""
    data = np.asarray(covariate.data[:], dtype=np.float32).reshape(len(covariate.timestamps), -1)
    times = np.asarray(covariate.timestamps[:], dtype=np.float64)
    single = data.shape[1] == 1
    names = covariate.channels or tuple(str(channel) for channel in range(data.shape[1]))
    channels = []
    for channel, name in enumerate(names):
        usable = np.isfinite(data[:, channel]) & increasing(times)
        label = covariate.name if single else f"{covariate.name}[{name}]"
        channels.append((label, _hold(data[usable, channel], times[usable], clock)))
    return channels


def _hold(samples: np.ndarray, times: np.ndarray, clock: Clock) -> np.ndarray:
    column = np.full(len(clock), np.nan, dtype=np.float32)
    if not len(samples):
        return column
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    last = np.searchsorted(times, clock.until, side="right") - 1
    oldest = clock.until - max(STALE * interval, clock.bin_width) - INSTANT
    recent = (last >= 0) & (times[last] >= oldest)
    column[recent] = samples[last[recent]]
    return column
