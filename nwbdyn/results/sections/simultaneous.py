"""Section "simultaneous": pairs of neurons that act within one bin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Record, Section


@dataclass(frozen=True)
class Signal(Record):
    """A signal and how well two halves of the recording agree on its partial correlations."""

    num_frames: int  # that are summed
    threshold: float | None  # robust standard deviations; None without events
    penalty: float
    agreement: float  # correlation of both halves' partial correlations


@dataclass(frozen=True)
class SimultaneousPairs(Section):
    """The signal that was chosen, the null, and how many pairs pass it."""

    num_pairs: int
    num_significant: int | None  # None: not tested
    level: float  # of q
    num_surrogates: int  # 0: not tested
    hypothesis: str  # "" where nothing was tested
    signal: Signal

    KEY: ClassVar[str] = "simultaneous"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"signal": Signal}

    def sentences(self) -> list[str]:
        """Number of significant pairs; none where nothing was tested."""
        if self.num_significant is None:
            return []
        return [
            f"{self.num_significant:,} of {self.num_pairs:,} pairs act together within one bin "
            f"(simultaneous, undirected) at q < {self.level:g}, beyond the activity of the whole "
            "population. Common input to a few neurons has the same effect."
        ]
