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
    changes: bool  # the test rejects a constant coupling
    p: float | None = None  # against a constant coupling; None where nothing was tested
    bandwidth: float | None = None  # seconds, sd of the kernel; None where none was fitted
    gain: RungGain | None = None  # in left-out parts of training, of the squared error
    test_gain: RungGain | None = None  # on test, with the coupling of the nearest training bins

    KEY: ClassVar[str] = "time_following"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"gain": RungGain, "test_gain": RungGain}

    def sentences(self) -> list[str]:
        """Sentence on a coupling that changes with time; none where the test does not reject."""
        if not self.changes:
            return []
        if not self.used:
            return [
                f"The test rejects a coupling that is constant in time (p = {self.p:.2g}), but "
                f"A(t) stays constant: {self.why_not}."
            ]
        on_test = (
            f", and {self.test_gain} on test with the coupling of the nearest training bins"
            if self.test_gain is not None
            else ""
        )
        return [
            f"A(t) follows slow change with time (p = {self.p:.2g}; kernel of "
            f"{self.bandwidth:.3g} s). This gains {self.gain} of the squared error in left-out "
            f"parts of training{on_test}. A(t) is estimated from all bins; the predictions that "
            "are scored do not use it. Drifting measurement noise or a saturating response can "
            "look like such a change."
        ]
