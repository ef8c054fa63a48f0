"""Section "agreement": reliability of couplings between seeds and between halves of windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Record, Section


@dataclass(frozen=True)
class Agreement(Record):
    """Correlation of mean matrices, off the diagonal."""

    seeds: float | None  # of two seeds; None with one seed
    windows: float | None  # of odd and even windows; None where they overlap or are few


@dataclass(frozen=True)
class Reliability(Section):
    """Reliability of the model's own couplings or maps, and of its predictive influence."""

    of: str  # "couplings" or "maps"
    coupling: Agreement
    influence: Agreement | None = None  # None for a model without influence

    KEY: ClassVar[str] = "agreement"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {
        "coupling": Agreement,
        "influence": Agreement,
    }
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"influence"})

    def sentences(self) -> list[str]:
        """One sentence per correlation that is known."""
        lines = []
        own = f"Mean {self.of}"
        for agreement, words in (
            (self.coupling, own),
            (self.influence, "Mean predictive influences"),
        ):
            if agreement is not None and agreement.seeds is not None:
                lines.append(f"{words} of two seeds agree at r = {agreement.seeds:.2f}.")
        halves = self.coupling.windows
        if halves is not None:
            lines.append(f"{own} of odd and even windows agree at r = {halves:.2f}.")
        return lines
