"""Section "coupling": what coupling adds to the score on test."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.difference import Difference
from nwbdyn.results.sections.section import Record, Section

AR = "AR"


@dataclass(frozen=True)
class CouplingGain(Section, Difference):
    """The model against a model of the same bins without coupling, and against AR."""

    against_ar: Difference | None = None  # absent before AR was compared
    better: str | None = None  # "refit" or "AR": the one that predicts validation better
    baseline: str | None = None  # the baseline that is the model without coupling; None: a refit
    all_zero: bool | None = None  # every weight is 0; None: no edges

    KEY: ClassVar[str] = "coupling"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"against_ar": Difference}
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"against_ar", "better", "baseline", "all_zero"})

    @property
    def decisive(self) -> Difference:
        """The comparison that coupling has to pass: with the better of the two on validation."""
        return self.against_ar if self._ar_is_better and self.against_ar is not None else self

    def sentences(self, *, selected: bool, of_recording: bool) -> list[str]:
        """Sentence on the gain from coupling. "Adds" requires an interval above zero.

        Args:
            selected: validation selected among several settings.
            of_recording: the edges were fitted to the recording and are not the model's weights.
        """
        if self.all_zero:
            first = "Validation chose no coupling" if selected else "No coupling was kept"
            if of_recording:
                return [f"{first} in the model; the edges are those of the recording."]
            return [f"{first}: every weight is 0, so the edge matrix is empty."]
        compared = self.decisive
        adds, ends = compared.adds, compared.ends
        if adds != adds:
            return []
        of = f"of {compared.metric} on {compared.split}"
        other = self._without
        if ends is None:
            if adds > 0:
                first = f"Coupling adds {adds:+.3f} {of} here"
            else:
                first = f"Coupling does not help here: {adds:+.3f} {of}"
            return [f"{first}; too short to test against {other}."]
        gain = f"{adds:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f}) {of}"
        if ends[0] > 0:
            return [f"Coupling adds {gain} to {other}."]
        verb = "is not shown to help" if adds > 0 else "does not help"
        return [f"Coupling {verb}: {gain} against {other}."]

    @property
    def _ar_is_better(self) -> bool:
        return self.better == AR

    @property
    def _without(self) -> str:
        """The model without coupling that decides, in words."""
        alone = AR if self._ar_is_better else self.baseline
        return "a refit without it" if alone is None else f"{alone}, each neuron by itself"
