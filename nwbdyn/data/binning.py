"""Recording -> Binned: every signal on one clock, gaps marked, nothing filled silently.

Spikes are counted on the grid of `clock`, which starts at 0 s. ROI traces keep their own frames
unless a bin width is given. Whatever is put on the clock of the bins uses only samples from before
the bin's end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nwbdyn.data import contradictions, large, limits, observation, spike_trains, trial_clock
from nwbdyn.data.clock import (
    GAP_FACTOR,
    Clock,
    covered,
    frames,
    gaps,
    grid,
    grid_ceil,
    grid_index,
    increasing,
    observed,
)
from nwbdyn.data.covariates import resample
from nwbdyn.data.spike_trains import Trains, by_unit, digits
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.recording import COUNTS, Neurons, Note, Recording, SpikeTimes, Traces

SPIKE_BIN_WIDTH = 0.020  # seconds, where neither the caller nor a known layout says otherwise
EVEN = 0.99  # share of the frame interval that a bin takes at least: jitter is no upsampling
FEWEST_BINS = 3  # in which all units were observed; one each to train, validate and test
COPIES = 3  # of the activity that binning maps at a time, at most
SILENT_FACTOR = 1000  # a silence of all units longer than this many median ones is worth a note


@dataclass(frozen=True)
class Binned:
    """Activity and covariates of one session on one clock.

    Spikes are counted in bins of `bin_width`. ROI traces keep their native frames (one bin = one
    frame) unless a bin width is given. `values` are what the file says, NaN where it says NaN;
    `valid` says which bins to use.
    """

    session_id: str
    values: np.ndarray  # (num_bins, num_neurons) float32, spike counts or trace values
    time: np.ndarray  # (num_bins,) float64, bin centres in seconds on the session clock
    bin_width: float  # seconds; for native frames the median frame interval
    valid: np.ndarray  # (num_bins,) bool, False where the neurons were not observed
    segment: np.ndarray  # (num_bins,) int, the same number = no gap in between; windows stay inside
    neurons: Neurons  # the columns of `values`
    quantity: str  # "counts", "dff", "events", "deconvolved" or "fluorescence"
    covariates: np.ndarray  # (num_bins, num_covariates) float32, K may be 0; NaN = no recent sample
    covariate_names: tuple[str, ...] = ()
    trials: pd.DataFrame | None = None  # start_time, stop_time, split …; rows in time order
    notes: tuple[Note, ...] = ()

    @property
    def num_bins(self) -> int:
        return self.values.shape[0]

    @property
    def num_neurons(self) -> int:
        return self.values.shape[1]


@dataclass(frozen=True)
class _Activity:
    """The neurons' part of a Binned."""

    clock: Clock
    values: np.ndarray  # (num_bins, num_neurons)
    valid: np.ndarray  # (num_bins,) bool
    gaps: np.ndarray  # (num_bins,) bool, True on the first bin after a gap
    kept: np.ndarray  # (num_neurons,) bool
    notes: list[Note]


def bin_recording(
    recording: Recording, *, bin_width: float | None = None, covariates: Sequence[str] = ()
) -> Binned:
    """Put a recording's activity and the named covariates on one clock.

    Spikes: counts in bins of `bin_width` (20 ms by default). A bin is valid when its first
    millisecond lies in the observed intervals of all units, and spikes outside them are not
    counted; without intervals, bins reach from the first spike to the last. Markers such as -1 and
    a few stray times are no spikes.

    Traces: native frames by default. With a `bin_width`, the mean of the frames inside each bin; a
    bin without a frame holds the last one, if it is recent (1.5 frame intervals), else is invalid.
    Frames with a NaN among the neurons kept are invalid. An interval between frames of more than
    1.5 of those around it starts a new segment.

    Neurons that are silent, constant, all NaN, or NaN in more than half of the frames are dropped,
    each with a note. Bins in the file's `invalid_times` are invalid.

    Trials that cannot be on the recording's clock are left out, with a note.

    Covariates: the last finite sample before the bin's end (native frames: at or before the frame),
    NaN when it is older than 1.5 sample intervals and than a bin.

    Raises:
        ConfigError: a bin width that is not a positive number.
        DataError: no such covariate, nothing usable left, or bins shorter than a frame interval;
            units that were never observed together; spike times that count from each trial.
    """
    if bin_width is not None and not (np.isfinite(bin_width) and bin_width > 0):
        raise ConfigError(
            f"Bin width must be a positive number of seconds, not {bin_width:g}. Pass for example "
            f"--bin-width {SPIKE_BIN_WIDTH:g}, or leave it out."
        )
    activity = recording.activity
    if isinstance(activity, SpikeTimes):
        binned = _bin_spikes(recording, activity, bin_width or SPIKE_BIN_WIDTH)
        quantity = COUNTS
    else:
        binned = _bin_traces(recording, activity, bin_width)
        quantity = activity.quantity
    notes = list(binned.notes)
    where = recording.source.name
    if len(binned.clock) == 1 and not (binned.kept.any() and binned.valid.any()):
        width = binned.clock.bin_width
        raise DataError(f"{where} fits into one bin of {width:g} s. Pass a smaller --bin-width.")
    if not binned.kept.any():
        reasons = "; ".join(f"{note.where}: {note.reason}" for note in notes[:3])
        raise DataError(f"No neuron of {where} has any activity that can be fitted ({reasons}).")
    valid = binned.valid & ~_in_invalid_times(recording, binned.clock)
    if not valid.any():
        raise DataError(
            f"No bin of {where} is usable: all are outside the observed intervals, "
            "in invalid_times, or NaN."
        )
    trials = _in_time_order(recording.trials, notes)
    trials = _on_this_clock(recording, trials, binned.clock, valid, notes)
    columns, names = resample(recording, covariates, binned.clock, valid, notes)
    breaks = binned.gaps | np.diff(valid, prepend=valid[:1])
    return Binned(
        session_id=recording.session_id,
        values=large.take_rows(binned.values, slice(None), binned.kept),
        time=binned.clock.time,
        bin_width=binned.clock.bin_width,
        valid=valid,
        segment=np.cumsum(breaks),
        neurons=recording.neurons.take(binned.kept),
        quantity=quantity,
        covariates=columns,
        covariate_names=names,
        trials=trials,
        notes=tuple(notes),
    )


def inside_trials(binned: Binned) -> Binned:
    """Mark bins outside every trial as not valid, and begin a segment at every trial."""
    assert binned.trials is not None
    starts = binned.trials["start_time"].to_numpy(float)
    stops = binned.trials["stop_time"].to_numpy(float)
    trial = np.searchsorted(starts, binned.time, side="right") - 1
    inside = (trial >= 0) & (binned.time < stops[np.maximum(trial, 0)])
    changes = np.diff(trial, prepend=trial[0]) != 0
    changes |= np.diff(binned.segment, prepend=binned.segment[0]) != 0
    return replace(binned, valid=binned.valid & inside, segment=np.cumsum(changes))


def _bin_spikes(recording: Recording, spikes: SpikeTimes, bin_width: float) -> _Activity:
    together = observation.refusal(spikes, recording.neurons)
    if together is not None:
        raise DataError(f"{recording.source.name}: {together}.")
    trains = spike_trains.examine(
        spikes, recording.neurons, around=contradictions.around(recording)
    )
    known = {note.code for note in recording.notes}
    notes = [note for note in trains.notes if note.code not in known]
    first, num_bins = _extent(spikes, trains, bin_width, recording)
    _check_memory(recording, num_bins, bin_width)
    clock = grid(first, num_bins, bin_width)
    valid = observed(clock.begin, spikes.intervals)
    if valid.sum() < FEWEST_BINS:
        shortest = FEWEST_BINS * bin_width
        together = observation.refusal(spikes, recording.neurons, shortest=shortest)
        if together is not None:
            raise DataError(f"{recording.source.name}: {together}.")
    values = large.memmap_zeros((num_bins, len(recording.neurons)))
    kept = np.zeros(len(recording.neurons), dtype=bool)
    num_left_out = 0
    for unit, times in enumerate(by_unit(spikes)):
        of_unit = trains.spikes_in(times)
        inside = of_unit[observed(of_unit, spikes.intervals)]
        num_left_out += int((~np.isfinite(times)).sum()) + len(of_unit) - len(inside)
        bins, counts = np.unique(grid_index(inside, bin_width) - first, return_counts=True)
        values[bins, unit] = counts
        kept[unit] = valid[bins].any()
        if not kept[unit]:
            where = f"unit {recording.neurons.ids[unit]}"
            notes.append(Note("empty-unit", where, "no spike while the units were observed"))
    if num_left_out:
        reason = f"{num_left_out} spike times are not finite or outside obs_intervals"
        notes.append(Note("uncounted-spikes", "spike_times", reason))
    if not kept.any():
        together = observation.refusal(spikes, recording.neurons, shortest=np.inf)
        if together is not None:
            raise DataError(f"{recording.source.name}: {together}.")
    notes.extend(_silent_stretches(values, valid, clock))
    return _Activity(clock, values, valid, np.zeros(num_bins, dtype=bool), kept, notes)


def _extent(
    spikes: SpikeTimes, trains: Trains, bin_width: float, recording: Recording
) -> tuple[int, int]:
    """First bin of the grid and number of bins: the observed intervals, else the spikes.

    Raises:
        DataError: no spikes, or spike times that count from each trial.
    """
    if trains.extent is not None:
        relative = trial_clock.relative(recording.trials, *trains.extent)
        if relative is not None:
            raise DataError(f"{recording.source.name}: {relative}.")
    intervals = spikes.intervals
    if intervals is not None and len(intervals):
        first = int(grid_index(intervals[:, 0].min(), bin_width))
        last = int(grid_ceil(intervals[:, 1].max(), bin_width))
        return first, max(last - first, 1)
    if trains.extent is None:
        raise DataError(
            f"The units of {recording.source.name} have no spikes at all; two units with spikes "
            "are needed. Choose another file."
        )
    first, last = grid_index(np.array(trains.extent), bin_width).tolist()
    return first, last - first + 1


def _check_memory(recording: Recording, num_bins: int, bin_width: float) -> None:
    """Refuse a grid that neither memory nor disk holds: too fine, or stretched by a stray time."""
    needed = num_bins * len(recording.neurons) * np.dtype(np.float32).itemsize
    limit, left = limits.memory(), limits.addresses_left()
    if left is not None and COPIES * needed > left.size:
        limit = left  # holds for arrays on disk, too
    elif limit is None or needed <= limit.size or needed <= large.free_disk():
        return
    raise DataError(
        f"{recording.source.name} spans {digits(num_bins * bin_width)} s: in bins of "
        f"{bin_width:g} s, {len(recording.neurons)} neurons take {needed / 1e9:.3g} GB, and "
        f"{limit.source} {limit.size / 1e9:.3g} GB. Pass a larger --bin-width, choose fewer "
        "neurons with --where, or correct times that lie far off."
    )


def _silent_stretches(values: np.ndarray, valid: np.ndarray, clock: Clock) -> list[Note]:
    """A note where all units pause for so long that the recording itself may have paused."""
    spoken = np.flatnonzero(valid & values.any(axis=1))
    if len(spoken) < 2:
        return []
    silence = np.diff(spoken) * valid[spoken[1:] - 1]
    longest = int(silence.argmax())
    if silence[longest] <= SILENT_FACTOR * np.median(silence):
        return []
    start, stop = clock.begin[spoken[longest : longest + 2]]
    reason = (
        f"no unit fires from {start:.1f} to {stop:.1f} s; if the recording paused there, "
        "list it in invalid_times"
    )
    return [Note("silent-stretch", "spike_times", reason)]


def _bin_traces(recording: Recording, traces: Traces, bin_width: float | None) -> _Activity:
    notes: list[Note] = []
    times = np.asarray(traces.timestamps[:], dtype=np.float64)
    ordered = increasing(times)
    if not ordered.all():
        where = traces.series_path or "timestamps"
        reason = f"{(~ordered).sum()} frames have no time or one that does not increase"
        notes.append(Note("unordered-frames", where, reason))
        times = times[ordered]
    if len(times) < 2:
        raise DataError(f"The traces of {recording.source.name} have {len(times)} usable frames.")
    clock = frames(times)
    if bin_width is not None and bin_width < EVEN * clock.bin_width:
        raise DataError(
            f"Bins of {bin_width:g} s are shorter than the frame interval of "
            f"{recording.source.name}, {clock.bin_width:.4g} s, and would repeat frames. Pass "
            f"--bin-width {clock.bin_width:.4g} or more, or leave it out to keep frames."
        )
    values = _frames(traces, ordered)
    kept = _usable_rois(recording.neurons, values, notes)
    whole = np.concatenate(
        [np.isfinite(values[piece][:, kept]).all(axis=1) for piece in large.row_blocks(values)]
    )
    if bin_width is not None:
        _check_memory(recording, int((times[-1] - times[0]) / bin_width) + 1, bin_width)
        return _rebin(values, clock, whole, bin_width, kept, notes)
    return _Activity(clock, values, whole, gaps(times), kept, notes)


def _frames(traces: Traces, ordered: np.ndarray) -> np.ndarray:
    """(num_frames, num_neurons) float32, the frames that `ordered` marks."""
    values = large.memmap_zeros((int(ordered.sum()), traces.data.shape[1]))
    done = 0
    for piece in large.row_blocks(traces.data):
        read = traces.data[piece][ordered[piece]]
        values[done : done + len(read)] = read
        done += len(read)
    return values


def _usable_rois(neurons: Neurons, values: np.ndarray, notes: list[Note]) -> np.ndarray:
    """(num_neurons,) bool; a note for every ROI that is dropped."""
    num_finite = np.zeros(len(neurons), dtype=np.int64)
    lowest, highest = np.full((2, len(neurons)), np.nan, dtype=np.float32)
    for piece in large.row_blocks(values):
        part = np.where(np.isfinite(values[piece]), values[piece], np.nan)
        num_finite += np.isfinite(part).sum(axis=0)
        lowest = np.fmin(lowest, np.fmin.reduce(part, axis=0))
        highest = np.fmax(highest, np.fmax.reduce(part, axis=0))
    missing = 1 - num_finite / len(values)
    kept = np.ones(len(neurons), dtype=bool)
    for roi in range(len(neurons)):
        if not num_finite[roi]:
            note = ("all-nan", "the trace holds no number")
        elif missing[roi] > 0.5:
            note = ("mostly-nan", f"{missing[roi]:.0%} of the frames are NaN")
        elif lowest[roi] == highest[roi]:
            note = ("constant", f"the trace is {lowest[roi]:g} throughout")
        else:
            continue
        kept[roi] = False
        notes.append(Note(note[0], f"roi {neurons.ids[roi]}", note[1]))
    return kept


def _rebin(
    values: np.ndarray,
    native: Clock,
    whole: np.ndarray,
    bin_width: float,
    kept: np.ndarray,
    notes: list[Note],
) -> _Activity:
    """The mean of the frames in each bin, or the last frame while it is recent."""
    index = grid_index(native.time, bin_width)
    clock = grid(int(index[0]), int(index[-1] - index[0]) + 1, bin_width)
    index -= index[0]
    filled, starts, counts = np.unique(index, return_index=True, return_counts=True)
    last = np.searchsorted(index, np.arange(len(clock)), side="right") - 1
    binned = large.take_rows(values, last, np.ones(values.shape[1], dtype=bool))
    valid = whole[last]
    ends = np.append(starts, len(values))
    for piece in large.row_blocks(values):
        some = slice(*np.searchsorted(starts, [piece.start, piece.stop]))  # bins that begin in it
        if some.start < some.stop:
            begin, end = ends[some.start], ends[some.stop]
            sums = np.add.reduceat(
                values[begin:end], starts[some] - begin, axis=0, dtype=np.float64
            )
            binned[filled[some]] = sums / counts[some, None]
    valid[filled] = np.logical_and.reduceat(whole, starts)
    empty = np.ones(len(clock), dtype=bool)
    empty[filled] = False
    stale = clock.until - native.time[last] > GAP_FACTOR * native.bin_width
    binned[empty & stale] = np.nan
    valid[empty & stale] = False
    if (empty & ~stale).any():
        reason = f"{(empty & ~stale).sum()} bins without a frame of their own hold the last one"
        notes.append(Note("held-frames", "time", reason))
    return _Activity(clock, binned, valid, np.zeros(len(clock), dtype=bool), kept, notes)


def _in_invalid_times(recording: Recording, clock: Clock) -> np.ndarray:
    """(num_bins,) bool, True for bins that an interval of `invalid_times` touches."""
    table = recording.intervals.get("invalid_times")
    if table is None:
        return np.zeros(len(clock), dtype=bool)
    starts = np.searchsorted(clock.until, table["start_time"].to_numpy(float), side="left")
    stops = np.searchsorted(clock.begin, table["stop_time"].to_numpy(float), side="left")
    return covered(starts, stops, len(clock))


def _in_time_order(trials: pd.DataFrame | None, notes: list[Note]) -> pd.DataFrame | None:
    if trials is None:
        return None
    timed = trials[np.isfinite(trials["start_time"].astype(float))]
    if len(timed) < len(trials):
        reason = f"{len(trials) - len(timed)} trials have no start time"
        notes.append(Note("untimed-trials", "trials", reason))
    return timed.sort_values("start_time", kind="stable").reset_index(drop=True)


def _on_this_clock(
    recording: Recording,
    trials: pd.DataFrame | None,
    clock: Clock,
    valid: np.ndarray,
    notes: list[Note],
) -> pd.DataFrame | None:
    """The trials, or None with a note where they cannot divide the recording."""
    if trials is None or recording.trials is None:
        return None
    first, last = clock.begin[valid.argmax()], clock.until[-1 - valid[::-1].argmax()]
    known = {note.code for note in recording.notes}
    odd = trial_clock.notes(recording.trials, float(first), float(last))
    notes.extend(note for note in odd if note.code not in known)
    return None if any(note.code == trial_clock.UNUSABLE for note in odd) else trials
