"""Section "states": does coupling differ between states?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Section


@dataclass(frozen=True)
class StateDifferences(Section):
    """p of the pattern and of the gain of coupling, and what is supported.

    Version 0.1 compared with simulations (`num_simulations`); it has no pattern and no gain.
    """

    names: Sequence[str]  # of the states
    p: float | None  # twice the smaller of both p, at most 1; NaN where nothing was tested
    supported: bool
    why_not: str  # "" where a difference is supported
    pattern_p: float | None = None
    gain_p: float | None = None
    pattern: bool | None = None  # the pattern differs
    gain: bool | None = None  # the gain differs
    level: float | None = None  # of q of edges
    num_permutations: int | None = None
    num_blocks: Sequence[int] | None = None  # dwell blocks of each state
    colour_p: Sequence[float] | None = None
    num_edges: int | None = None
    num_significant: int | None = None  # edges that change; None where nothing was tested
    hypothesis: str = ""
    num_simulations: int | None = None

    KEY: ClassVar[str] = "states"
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"num_simulations"})

    @property
    def is_untested(self) -> bool:
        """True where no p was computed."""
        return self.num_permutations is not None and self.num_significant is None

    def sentences(self) -> list[str]:
        """Sentence on a difference of coupling between states."""
        between = f"between {', '.join(self.names)}"
        if self.is_untested:
            return [f"Differences of coupling {between} were not tested: {self.why_not}."]
        if not self.supported:
            return [f"Differences of coupling {between} are not supported: {self.why_not}."]
        if self.pattern_p is None:
            return [
                f"Coupling differs {between} by more than in {self.num_simulations} simulations "
                f"with a constant one (p = {self.p:.2g})."
            ]
        changed = [name for name in ("pattern", "gain") if getattr(self, name)]
        p = f"pattern p = {self.pattern_p:.2g}, gain p = {self.gain_p:.2g}"
        return [
            f"Coupling differs {between} in its {' and '.join(changed)} ({p}); "
            f"{self.num_significant} edges change at q < {self.level:g}. A saturating response can "
            "look like a change of gain. Measurement noise that differs between states can look "
            "like a change of gain or of pattern."
        ]
