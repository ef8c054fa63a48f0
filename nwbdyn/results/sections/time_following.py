"""Section "time_following": does A(t) follow slow change with time?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.ladder import RungGain
from nwbdyn.results.sections.section import Record, Section


@dataclass(frozen=True)
class TimeFollowing(Section):
    """Test of a constant coupling, and gains of one that follows time."""

    used: bool  # A(t) follows time
    why_not: str  # "" where it does
    changes: bool  # the test says that coupling is not constant
    p: float | None = None  # that coupling is constant; None where nothing was tested
    bandwidth: float | None = None  # seconds, sd of the kernel; None where none was fitted
    gain: RungGain | None = None  # in parts of training that were left out, of the squared error
    test_gain: RungGain | None = None  # on test, with the coupling of the nearest training bins

    KEY: ClassVar[str] = "time_following"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"gain": RungGain, "test_gain": RungGain}

    def sentences(self) -> list[str]:
        """Sentence on a coupling that changes with time; none where the test supports no change."""
        if not self.changes:
            return []
        if not self.used:
            return [
                f"Coupling changes slowly with time (p = {self.p:.2g}), but A(t) does not follow "
                f"it: {self.why_not}."
            ]
        return [
            f"A(t) follows slow change with time (p = {self.p:.2g}; kernel of "
            f"{self.bandwidth:.3g} s). This gains {self.gain} of the squared error in parts of "
            f"training that were left out, and {self.test_gain} on test with the coupling of the "
            "nearest training bins. A(t) is estimated from all bins; the predictions that are "
            "scored do not use it. Noise of measurement that drifts, or a response that bends, "
            "can pass for such a change."
        ]
