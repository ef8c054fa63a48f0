"""Section "ensemble": the seeds whose mean validation chose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.difference import Interval, span
from nwbdyn.results.sections.section import Section


@dataclass(frozen=True)
class SeedMean(Section):
    """Mean of the best seeds on validation, and its scores on test."""

    metric: str
    ranking: Sequence[int]  # seeds, best on validation first
    validation: Sequence[float | None]  # score of the mean over the first one, two, … of them
    seeds: Sequence[int]  # those that are averaged
    split: str
    ensemble: float  # test score of the mean
    single: float  # test score of the first seed
    adds: float  # their difference
    interval: Interval | None  # 95 %; None with few blocks

    KEY: ClassVar[str] = "ensemble"

    def sentences(self) -> list[str]:
        """Number of seeds that are averaged, and the score beside that of the best seed."""
        number, total, ends = len(self.seeds), len(self.ranking), span(self.interval)
        return [
            f"Rates are the mean of the best {number} of {total} seeds on validation: "
            f"{self.metric} {self.ensemble:.3f} against {self.single:.3f} of the best seed on "
            f"{self.split}" + (f", difference {ends}." if ends else ".")
        ]
