"""Time cut into bins: which bin holds a moment, and what a bin may have seen.

The grid starts at 0 s of the session clock. When the bin width is a whole number of milliseconds,
times are first put on whole milliseconds, floor(round(t * 1000, 6)), and bin k holds the
milliseconds k * w to (k + 1) * w - 1: the Neural Latents Benchmark's rule, free of floating-point
surprises at the edges.
"""

from dataclasses import dataclass

import numpy as np

GAP_FACTOR = 1.5  # a frame interval longer than this many of those around it is a gap
AROUND = 21  # frame intervals that say what is usual
ALTERNATING = 0.2  # share by which mean and median interval differ where intervals alternate
PIECE = 1 << 16  # frames looked at together
INSTANT = 1e-9  # seconds, finer than any clock in these files
FARTHEST = 1e12  # seconds from 0; a time beyond is damage, and is put there to stay an integer


@dataclass(frozen=True)
class Clock:
    """The bins of a session; a native frame is a bin of no extent."""

    begin: np.ndarray  # (num_bins,) seconds, where a bin begins; of a frame its own time
    until: np.ndarray  # (num_bins,) seconds, the last moment that a causal sample may have
    time: np.ndarray  # (num_bins,) seconds, the centre
    bin_width: float  # seconds; for frames the median interval

    def __len__(self) -> int:
        return len(self.time)


def grid(first: int, num_bins: int, bin_width: float) -> Clock:
    """`num_bins` bins of the grid from 0 s, from bin number `first` on."""
    begin = (first + np.arange(num_bins)) * bin_width
    return Clock(begin, begin + bin_width - INSTANT, begin + bin_width / 2, bin_width)


def frames(times: np.ndarray) -> Clock:
    """Native frames; a sample at the frame's own time is not the future."""
    return Clock(times, times + INSTANT, times, frame_interval(times))


def frame_interval(times: np.ndarray) -> float:
    """Seconds from frame to frame: the median, or the mean where intervals alternate; no gaps."""
    steps = np.diff(times)
    middle = float(np.median(steps))
    usual = float(steps[~gaps(times)[1:]].mean())
    return middle if abs(usual / middle - 1) < ALTERNATING else usual


def gaps(times: np.ndarray) -> np.ndarray:
    """(num_frames,) bool, True on a frame that comes later than those around it let expect.

    Expected is what seven of ten intervals around do not exceed, so that a scan whose intervals
    alternate, or a rate that changes, has no gaps; at most four times what three of ten do not
    exceed, so that pauses after every few frames are gaps.
    """
    steps = np.diff(times)
    late = np.zeros(len(times), dtype=bool)
    width = min(AROUND, len(steps))
    if not width or steps.max() <= GAP_FACTOR * steps.min():
        return late
    windows = np.lib.stride_tricks.sliding_window_view(steps, width)
    usual = np.empty(len(windows))
    low, high = int(0.3 * (width - 1)), int(np.ceil(0.7 * (width - 1)))
    for start in range(0, len(windows), PIECE):
        part = np.partition(windows[start : start + PIECE], (low, high), axis=1)
        usual[start : start + PIECE] = np.minimum(part[:, high], 4 * part[:, low])
    around = np.clip(np.arange(len(steps)) - width // 2, 0, len(windows) - 1)
    late[1:] = steps > GAP_FACTOR * usual[around]
    return late


def milliseconds(times: np.ndarray) -> np.ndarray:
    """(n,) int64, the whole millisecond that holds each time."""
    return np.floor(np.round(_bounded(times) * 1000, 6)).astype(np.int64)


def observed(times: np.ndarray, intervals: np.ndarray | None) -> np.ndarray:
    """(n,) bool, True where a time's millisecond lies whole in one of the (m, 2) intervals.

    None means observed throughout; no interval at all (m = 0) means never.
    """
    if intervals is None:
        return np.ones(len(times), dtype=bool)
    starts, stops = (np.sort(edges) for edges in _in_whole_milliseconds(intervals))
    moments = milliseconds(times)
    begun = np.searchsorted(starts, moments, side="right")
    return begun > np.searchsorted(stops, moments, side="right")


def observed_moments(moments: np.ndarray, intervals: np.ndarray | None) -> np.ndarray:
    """Those of the milliseconds, in increasing order, that are `observed`."""
    if intervals is None:
        return moments
    begin, end = (np.searchsorted(moments, edges) for edges in _in_whole_milliseconds(intervals))
    if len(intervals) == 1:
        return moments[begin[0] : end[0]]
    return moments[covered(begin, end, len(moments))]


def _in_whole_milliseconds(intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First millisecond that lies whole in each interval, and the one after the last."""
    starts, stops = _bounded(intervals).T * 1000
    return np.ceil(np.round(starts, 6)), np.floor(np.round(stops, 6))


def grid_index(times: np.ndarray, bin_width: float) -> np.ndarray:
    """(n,) int64, the bin of the grid from 0 s that holds each time: bin k is [k w, (k + 1) w)."""
    width_ms = whole_ms(bin_width)
    if width_ms is None:
        return np.floor(np.round(_bounded(times) / bin_width, 9)).astype(np.int64)
    return milliseconds(times) // width_ms


def grid_ceil(times: np.ndarray, bin_width: float) -> np.ndarray:
    """(n,) int64, the first bin of the grid from 0 s that starts at or after each time."""
    width_ms = whole_ms(bin_width)
    if width_ms is None:
        return np.ceil(np.round(_bounded(times) / bin_width, 9)).astype(np.int64)
    return np.ceil(np.round(_bounded(times) * 1000, 6) / width_ms).astype(np.int64)


def _bounded(times: np.ndarray) -> np.ndarray:
    return np.clip(times, -FARTHEST, FARTHEST)


def whole_ms(bin_width: float) -> int | None:
    """The bin width in milliseconds when that is a whole number, else None."""
    width_ms = round(bin_width * 1000)
    return width_ms if width_ms > 0 and abs(bin_width * 1000 - width_ms) < 1e-9 else None


def covered(starts: np.ndarray, stops: np.ndarray, num_bins: int) -> np.ndarray:
    """(num_bins,) bool, True for the bins of any half-open interval starts[i]:stops[i]."""
    change = np.zeros(num_bins + 1, dtype=np.int64)
    np.add.at(change, np.clip(starts, 0, num_bins), 1)
    np.add.at(change, np.clip(np.maximum(starts, stops), 0, num_bins), -1)
    return np.cumsum(change[:-1]) > 0


def increasing(times: np.ndarray) -> np.ndarray:
    """(n,) bool, True where a time is finite and later than every one before it."""
    highest = np.maximum.accumulate(np.where(np.isfinite(times), times, -np.inf))
    return np.isfinite(times) & (times > np.concatenate([[-np.inf], highest[:-1]]))
