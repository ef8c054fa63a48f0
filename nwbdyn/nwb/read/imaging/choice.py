"""Options for reading ROI traces, and for correcting what a file states wrongly."""

from dataclasses import dataclass

import numpy as np

from nwbdyn.errors import ConfigError

OF_FRAMES: tuple[str, ...] = (
    "time_axis",
    "frame_rate",
    "frame_start",
    "frame_time_unit",
)  # corrections of a file
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}  # seconds in each


@dataclass(frozen=True)
class TraceChoice:
    """Options for reading ROI traces; None follows the file.

    Raises:
        ConfigError: a value that makes no sense.
    """

    quantity: str | None = None  # one of `TRACE_QUANTITIES`
    plane: str | None = None  # name of one ROI table
    series: str | None = None  # name or path of the series, or the end of its path
    time_axis: int | None = None  # axis of the stored traces that is time, 0 or 1
    frame_rate: float | None = None  # Hz, in place of the stated rate or timestamps
    frame_start: float | None = None  # seconds, time of the first frame
    frame_time_unit: str | None = None  # of timestamps and starting_time, one of `TIME_UNITS`

    def __post_init__(self) -> None:
        rate, start, unit = self.frame_rate, self.frame_start, self.frame_time_unit
        if rate is not None and not (np.isfinite(rate) and rate > 0):
            raise ConfigError(f"The frame rate must be a positive number of Hz, not {rate:g}.")
        if start is not None and not np.isfinite(start):
            raise ConfigError(f"The time of the first frame must be a number of s, not {start:g}.")
        if unit is not None and unit not in TIME_UNITS:
            raise ConfigError(
                f"Frame times cannot be in {unit!r}. Choose from: {', '.join(TIME_UNITS)}."
            )
        if self.time_axis not in (None, 0, 1):
            raise ConfigError(f"The time axis of traces is 0 or 1, not {self.time_axis}.")

    @property
    def names_traces(self) -> bool:
        """True when a series or a plane is named; units are not read then."""
        return self.plane is not None or self.series is not None

    @property
    def seconds(self) -> float:
        """Seconds in one unit of the stored times."""
        return TIME_UNITS[self.frame_time_unit or "s"]
