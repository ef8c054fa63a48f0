"""Which axis of stored traces is time: from the ROIs, the times, the ROI tables, the session."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

ALIKE, UNLIKE = 2.0, 5.0  # factors between a duration and one of the session


@dataclass(frozen=True)
class Evidence:
    """Evidence of a file on the length of the two axes of a series."""

    num_rois: int | None  # length of `rois`
    num_times: int | None  # length of `timestamps`
    table_rows: Collection[int]  # of the series' ROI table, or of all ROI tables of the file
    rate: float | None  # Hz, where the clock is a rate
    durations: Callable[[], list[float]]  # seconds that the rest of the session takes


def time_axis(shape: tuple[int, int], evidence: Evidence) -> int | None:
    """The time axis, by the first evidence that fits one axis alone; None without any.

    A series with equal axes, and one with more rows than columns and nothing to say against it, is
    time first, as NWB has it.
    """
    first, second = shape
    if first == second:
        return 0
    if evidence.num_rois is not None:
        if second == evidence.num_rois:
            return 0
        return 1 if first == evidence.num_rois else 0
    if evidence.num_times is not None and (first == evidence.num_times) != (
        second == evidence.num_times
    ):
        return 0 if first == evidence.num_times else 1
    is_table = [length in evidence.table_rows for length in shape]
    if is_table[0] != is_table[1]:
        return 0 if is_table[1] else 1
    if evidence.rate:
        durations = evidence.durations()
        near = [_near(length / evidence.rate, durations) for length in shape]
        if near[0] != near[1] and None not in near:
            return 0 if near[0] else 1
    return 0 if first > second else None


def _near(seconds: float, durations: list[float]) -> bool | None:
    """Compare a duration with those of the session; None between like and unlike."""
    known = [other for other in durations if other > 0]
    if not known:
        return None
    if seconds <= 0:
        return False
    factor = min(max(seconds / other, other / seconds) for other in known)
    if factor <= ALIKE:
        return True
    return False if factor >= UNLIKE else None
