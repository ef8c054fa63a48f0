"""Section "dynamics": does coupling that changes over time predict better than a constant one?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.errors import ResultsError
from nwbdyn.results.sections.difference import Difference
from nwbdyn.results.sections.section import Record, Section


@dataclass(frozen=True)
class CouplingChange(Section):
    """A(t) against a refit with a constant A and against the best baseline."""

    static_share: float | None  # of the mean square of A(t) over edges; None without a weight
    state_share: float | None  # the rest of it
    static: Difference | None  # A(t) against the refit; None for a model whose A is constant
    baseline: str | None  # the best one
    beats_baseline: bool | None  # as for the fit
    supported: bool | None  # None where there is no refit
    against_baseline: Difference | None = None  # the fit against the best baseline
    stable_over_seeds: float | None = None  # share of edges with one sign; None: not known
    stable_over_halves: float | None = None

    KEY: ClassVar[str] = "dynamics"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {
        "static": Difference,
        "against_baseline": Difference,
    }

    def sentences(self) -> list[str]:
        """Sentence on a change of coupling over time; none if it was not tested."""
        if self.supported is None:
            return []
        if self.supported:
            return [
                f"Coupling that changes beats a refit with a constant one ({self.static}); "
                f"{self.state_share:.0%} of its mean square changes over time."
            ]
        return [
            "Differences of coupling over time and state are not supported: "
            f"{self.failed_criteria()}."
        ]

    def caption(self) -> str:
        """Caption of a figure of differences over time."""
        if self.supported is None:
            return UNTESTED_CHANGE
        if self.supported:
            return "A refit with constant coupling predicts worse."
        return f"Not supported: {self.failed_criteria()}."

    def failed_criteria(self) -> str:
        """The comparisons on test that A(t) fails and those it passes, if it is not supported."""
        static = self.static
        if static is None:  # a damaged file
            raise ResultsError("The results are damaged: a change was tested without its refit.")
        refit = f"a refit with a constant A ({static})"
        best = self.baseline or "a baseline"
        best += f" ({self.against_baseline})" if self.against_baseline is not None else ""
        if static.above_zero:
            return f"A(t) beats {refit} on {static.split}, but not {best}"
        if self.beats_baseline:
            return f"A(t) beats {best} on {static.split}, but not {refit}"
        return f"A(t) beats neither {refit} nor {best} on {static.split}"


UNTESTED_CHANGE = "What changes follows activity, and need not be a change of coupling."
