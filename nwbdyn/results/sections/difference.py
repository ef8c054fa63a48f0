"""Difference of two predictions on test, with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from nwbdyn.results.sections.section import Record

Interval = Sequence[float | None]  # both ends, 95 %


@dataclass(frozen=True)
class Difference(Record):
    """Score of one prediction beside that of another, by the primary metric."""

    metric: str
    split: str
    with_: float  # score of the one
    without: float  # score of the other
    adds: float  # their difference
    interval: Interval | None  # of the difference; None with too few blocks

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """As `Record.from_json`; a score that is not defined is null in JSON, and NaN here."""
        scores = {name: values.get(name) for name in ("with", "without", "adds")}
        undefined = {name: math.nan for name, score in scores.items() if score is None}
        return super().from_json({**values, **undefined})

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval; None where one is not known."""
        if not self.interval or None in self.interval:
            return None
        low, high = self.interval
        return cast("float", low), cast("float", high)

    @property
    def above_zero(self) -> bool:
        """True where the interval lies above 0; False without an interval."""
        return self.ends is not None and self.ends[0] > 0

    @property
    def least(self) -> float:
        """Smallest plausible difference: the lower end, or the value without an interval."""
        return self.adds if self.ends is None else self.ends[0]

    def __str__(self) -> str:
        """The difference and its interval: "r2 +0.020, +0.010 to +0.030"."""
        if self.ends is None:
            return f"{self.metric} {self.adds:+.3f}, too few blocks for an interval"
        return f"{self.metric} {self.adds:+.3f}, {self.ends[0]:+.3f} to {self.ends[1]:+.3f}"


def span(interval: Interval | None, digits: int = 3) -> str:
    """An interval to read, "" where an end is not known."""
    if interval is None or any(end is None or end != end for end in interval):
        return ""
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
