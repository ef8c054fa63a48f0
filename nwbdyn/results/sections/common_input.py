"""Section "common_input": residual variance that the neurons share beyond chance."""

from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Section


@dataclass(frozen=True)
class CommonInput(Section):
    """Excess of the first eigenvalue of the residuals' correlations, and its limit."""

    excess: float  # share of the variance of all neurons, above chance; of counts, of their rates
    limit: float
    above: bool  # the excess is above the limit
    of_rates: bool = False  # of counts: the relative variance that their rates share

    KEY: ClassVar[str] = "common_input"

    @property
    def q_withheld_reason(self) -> str:
        """Why edges have no q; "" below the limit."""
        if not self.above:
            return ""
        return (
            f"{self._shared} beyond chance, which points to common input; neurons without a "
            "connection can have edges"
        )

    def sentences(self, *, withheld_for_it: bool) -> list[str]:
        """Warning of common input above the limit.

        Args:
            withheld_for_it: the verdict gives it already as the reason why edges have no q.
        """
        if not self.above or withheld_for_it:
            return []
        return [
            f"Common input is likely: {self._shared} beyond chance, more than {self.limit:g}. "
            "Common input can cause edges."
        ]

    @property
    def _shared(self) -> str:
        if self.of_rates:
            return f"the rates of the neurons share a relative variance of {self.excess:.3f}"
        return f"the neurons share {self.excess:.3f} of their residual variance"
