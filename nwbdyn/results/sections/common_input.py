"""Section "common_input": residual variance that the neurons share beyond chance."""

from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Section


@dataclass(frozen=True)
class CommonInput(Section):
    """Excess of the first eigenvalue of the residuals' correlations, and its limit."""

    excess: float  # share of the variance of all neurons, above chance
    limit: float
    above: bool  # the excess is above the limit

    KEY: ClassVar[str] = "common_input"

    @property
    def q_withheld_reason(self) -> str:
        """Why edges have no q; "" below the limit."""
        if not self.above:
            return ""
        return (
            f"the neurons share {self.excess:.3f} of their residual variance beyond chance, which "
            "points to common input; it can make edges between neurons that are not connected"
        )

    def sentences(self, *, withheld_for_it: bool) -> list[str]:
        """Warning of common input above the limit.

        Args:
            withheld_for_it: the verdict gives it already as the reason why edges have no q.
        """
        if not self.above or withheld_for_it:
            return []
        return [
            f"Common input is likely: the neurons share {self.excess:.3f} of their residual "
            f"variance beyond chance, more than {self.limit:g}. Edges can come from it."
        ]
