"""Section "nested": does coupling help to predict, does the gain change?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Record, Section

_WORDS = {  # question -> supported, not supported
    "coupling": (
        "Other neurons help to predict: additive coupling (M2) improves on own dynamics (M1)",
        "Coupling is not supported",
    ),
    "gain": (
        "The gain of neurons changes with the population: M4 improves on M3",
        "A change of gain is not supported",
    ),
}


@dataclass(frozen=True)
class Sensitivity(Record):
    """Sensitivity analyses beside the gain from coupling."""

    improved: float  # share of neurons whose error falls, among those that it changes
    population: float | None  # gain with the population mean and components as covariates
    without_largest: float  # gain without the bins of the largest errors
    shared: float  # first eigenvalue of the correlations of M1's residuals in training, over N

    def sentence(self) -> str:
        """Number of neurons that improve, and the gain beside the population."""
        words = f"It improves {self.improved:.0%} of the neurons that it changes"
        if self.population is not None:
            gain = f"{self.population:.4f}"
            words += f"; with the population mean and components as covariates {gain}"
        return f"{words}; {self.shared:.0%} of the residuals is shared by all neurons."


@dataclass(frozen=True)
class NestedTest(Record):
    """Two rungs of the ladder compared on test bins, and on rotated recordings."""

    rungs: Sequence[str]  # the rung, and the one it has to improve on
    gain: float | None  # mean over blocks; None where no test bin is predicted
    error: float | None  # its standard error
    unit: str
    num_blocks: int
    rotations: Sequence[float]  # mean gain in each rotated recording; empty: not needed
    supported: bool
    reason: str  # why it is not supported; "" where it is
    sensitivity: Sensitivity | None  # of coupling, where the block test passes

    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"sensitivity": Sensitivity}

    def sentence(self, question: str) -> str:
        """Result of one question, "coupling" or "gain"."""
        supported, not_supported = _WORDS[question]
        if not self.supported:
            return f"{not_supported}: {self.reason}."
        text = (
            f"{supported} by {self.gain:.4f} +- {self.error:.4f} {self.unit} on test, "
            f"more than in {len(self.rotations)} rotated recordings."
        )
        if question != "coupling":
            return text
        beside = "" if self.sensitivity is None else f" {self.sensitivity.sentence()}"
        return f"{text}{beside} Common input would help as much."


@dataclass(frozen=True)
class NestedTests(Section):
    """Additive coupling is M2 against M1, a change of gain M4 against M3."""

    coupling: NestedTest
    gain: NestedTest

    KEY: ClassVar[str] = "nested"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"coupling": NestedTest, "gain": NestedTest}

    def sentences(self) -> list[str]:
        """One sentence per question."""
        return [self.coupling.sentence("coupling"), self.gain.sentence("gain")]
