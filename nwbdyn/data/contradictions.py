"""Contradictions inside a recording, detected when it is opened.

Spike times are read for that where they are few enough; a fit reads them in any case and looks
again. Notes that are found here stand at the top of `nwbdyn inspect`.
"""

import numpy as np

from nwbdyn.data import observation, spike_trains, trial_clock
from nwbdyn.recording import LazyArray, Note, Recording, SpikeTimes

LOCAL, REMOTE = 64 * 2**20, 2**20  # bytes of spike times that are read to inspect a recording
REFUSED = (observation.NEVER_TOGETHER, trial_clock.RELATIVE)  # codes after which no fit is possible


def notes(recording: Recording) -> tuple[Note, ...]:
    """The notes on spike trains and trials; none where that would read too much."""
    activity = recording.activity
    if not isinstance(activity, SpikeTimes):
        timestamps = activity.timestamps
        if isinstance(timestamps, LazyArray) and _is_remote(recording):
            return ()
        times = np.asarray(timestamps[:])
        times = times[np.isfinite(times)]
        if not len(times):
            return ()
        return tuple(trial_clock.notes(recording.trials, float(times.min()), float(times.max())))
    most = REMOTE if _is_remote(recording) else LOCAL
    if activity.times.nbytes > most:
        return ()
    trains = spike_trains.examine(activity, recording.neurons, around=around(recording))
    return (*trains.notes, *of_trials(recording, trains))


def of_trials(recording: Recording, trains: spike_trains.Trains) -> list[Note]:
    """Notes on trials that contradict the spikes."""
    if trains.extent is None:
        return []
    first, last = trains.extent
    reason = trial_clock.relative(recording.trials, first, last)
    if reason is not None:
        return [Note("relative-spikes", "spike_times", reason, important=True)]
    assert isinstance(recording.activity, SpikeTimes)
    intervals = recording.activity.intervals
    if intervals is not None and len(intervals):
        first, last = float(intervals.min()), float(intervals.max())
    return trial_clock.notes(recording.trials, first, last)


def around(recording: Recording) -> tuple[float, float] | None:
    """Seconds that observed intervals or trials give the session; None where neither does."""
    activity = recording.activity
    assert isinstance(activity, SpikeTimes)
    if activity.intervals is not None and len(activity.intervals):
        return float(activity.intervals.min()), float(activity.intervals.max())
    if recording.trials is None or not len(recording.trials):
        return None
    times = recording.trials[["start_time", "stop_time"]].to_numpy(float)
    times = times[np.isfinite(times)]
    return (float(times.min()), float(times.max())) if len(times) else None


def _is_remote(recording: Recording) -> bool:
    return recording.source.path is None
