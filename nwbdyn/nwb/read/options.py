"""Options for reading a file: which activity to take, and what the file states wrongly."""

from dataclasses import dataclass, fields
from typing import Any

from nwbdyn.errors import ConfigError, not_among
from nwbdyn.nwb.read.imaging.choice import TraceChoice
from nwbdyn.recording import COUNTS, TRACE_QUANTITIES

QUANTITIES = (COUNTS, *TRACE_QUANTITIES)


@dataclass(frozen=True)
class ReadOptions(TraceChoice):
    """Options for reading a recording; None follows the file.

    Units win over ROI traces, and among traces the first of `TRACE_QUANTITIES`, unless `quantity`
    names another one: "counts" or one of these. With a plane or a series units are not read.

    Raises:
        ConfigError: an unknown quantity, or a value that makes no sense.
    """

    spike_time_unit: str | None = None  # "ms", a sampling rate in Hz, or "s" against the checks

    def __post_init__(self) -> None:
        if self.quantity is not None and self.quantity not in QUANTITIES:
            named = str(self.quantity)
            raise ConfigError(f"No quantity named {named!r}{not_among(named, QUANTITIES)}")
        super().__post_init__()

    @property
    def given(self) -> dict[str, Any]:
        """The options that are not None, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
