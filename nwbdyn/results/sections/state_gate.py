"""Section "state_gate": does A(t) follow the states?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.ladder import RungGain
from nwbdyn.results.sections.section import Record, Section


@dataclass(frozen=True)
class StateMatrices(Section):
    """Gains of coupling that differs between states, over own dynamics that differ."""

    used: bool  # A(t) has one matrix per state
    why_not: str  # "" where it has
    gain: RungGain  # on validation, share of the squared error
    test_gain: RungGain  # on test

    KEY: ClassVar[str] = "state_gate"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"gain": RungGain, "test_gain": RungGain}

    def sentences(self) -> list[str]:
        """Sentence on A(t) with one matrix per state."""
        if not self.used:
            return [f"A(t) does not follow the states: {self.why_not}."]
        return [
            "A(t) has one matrix per state. Coupling that differs between states gains "
            f"{self.test_gain} of the squared error on test; the predictions that are scored do "
            "not use it."
        ]
