"""Behaviour, stimuli and events on the clock of the bins, strictly causal."""

from collections.abc import Sequence

import numpy as np

from nwbdyn.data import events
from nwbdyn.data.clock import INSTANT, Clock, increasing
from nwbdyn.data.trials import tables
from nwbdyn.errors import DataError
from nwbdyn.recording import Covariate, Note, Recording

MOST_ABSENT = 0.5  # of the usable bins; a covariate with fewer samples is hardly one
STALE = 1.5  # sample intervals (or one bin, if longer) after which a sample no longer stands


def resample(
    recording: Recording, names: Sequence[str], clock: Clock, valid: np.ndarray, notes: list[Note]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each bin's last finite sample of the named covariates, and what named events leave behind.

    Returns:
        (num_bins, K) float32, NaN where the last sample is stale or there is none yet; and the K
        names, one per channel: "running", "hand_vel[x]", "licks[0]" (see `events`). One of several
        channels without a number in any `valid` bin is left out, with a note.

    Raises:
        DataError: the recording has no such covariate and no such table of events, or no number of
            it in any bin that is used.
    """
    columns: list[np.ndarray] = []
    labels: list[str] = []
    for name in names:
        named = _named(recording, name, clock, notes)
        usable = [(label, column) for label, column in named if np.isfinite(column[valid]).any()]
        if not usable:
            raise DataError(_no_sample(recording, name, clock, valid))
        for label in [label for label, column in named if not np.isfinite(column[valid]).any()]:
            notes.append(Note("all-nan", label, "no number in the recorded bins; left out"))
        for label, column in usable:
            notes.extend(_notes(label, column[valid]))
            columns.append(column)
            labels.append(label)
    empty = np.zeros((len(clock), 0), dtype=np.float32)
    return (np.stack(columns, axis=1) if columns else empty), tuple(labels)


def _notes(label: str, column: np.ndarray) -> list[Note]:
    """Notes on one channel in the usable bins."""
    present = np.isfinite(column)
    absent = int((~present).sum())
    notes = []
    if absent:
        reason = (
            f"{absent} of {len(present)} usable bins have no recent sample; models see the mean "
            "there"
        )
        important = absent > MOST_ABSENT * len(present)
        notes.append(Note("covariate-gaps", label, reason, important=important))
    if np.ptp(column[present]) == 0 and len(present) > 1:
        reason = f"is {column[present][0]:g} in all usable bins, so it tells a model nothing"
        notes.append(Note("constant-covariate", label, reason, important=True))
    return notes


def _no_sample(recording: Recording, name: str, clock: Clock, valid: np.ndarray) -> str:
    """Why nothing of a covariate that was named reaches the recorded bins."""
    first, last = clock.begin[valid][0], clock.until[valid][-1]
    text = f"{recording.source.name}: covariate {name!r} has no number in the recorded bins"
    try:
        times = np.asarray(recording.covariate(name).timestamps[:], dtype=np.float64)
    except KeyError:
        times = np.zeros(0)
    times = times[np.isfinite(times)]
    if len(times):
        text += (
            f": its {len(times)} samples are from {times.min():.6g} to {times.max():.6g} s, the "
            f"bins from {first:.6g} to {last:.6g} s"
        )
    return f"{text}. Correct it in the file, or leave out --covariate {name}."


def _named(
    recording: Recording, name: str, clock: Clock, notes: list[Note]
) -> list[tuple[str, np.ndarray]]:
    """(label, (num_bins,) float32) of every channel of a covariate or of a table of events."""
    try:
        return _channels(recording.covariate(name), clock)
    except KeyError as error:
        columns = events.covariates(recording, name, clock, notes)
        if columns is None:
            there = ", ".join(tables(recording)) or "none"
            raise DataError(
                f"{recording.source.name} has {error.args[0]}{_unread(recording, name)}; tables of "
                f"events: {there}."
            ) from None
        return list(columns.items())


def _unread(recording: Recording, name: str) -> str:
    """Why a series of that name is no covariate, in brackets; empty where none has it."""
    for note in recording.notes:
        parts = note.where.split("/")
        if name in (parts[-1], *parts[-2:-1]):
            return f" ({note.where} {note.reason})"
    return ""


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
