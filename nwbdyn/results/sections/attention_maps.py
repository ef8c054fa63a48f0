"""Sections "necessity" and "importance": the test score without a model's attention maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Section


@dataclass(frozen=True)
class MapAblation(Section):
    """Loss of the test score for each replacement of the maps.

    A loss near 0 means that the maps are not needed, and then they say little about coupling.
    """

    metric: str
    split: str
    loss: Mapping[str, float]  # replacement -> loss

    KEY: ClassVar[str] = "necessity"

    def sentences(self) -> list[str]:
        """Cost of the replacements; none where there were none."""
        if not self.loss:
            return []
        losses = ", ".join(f"{loss:+.3f} ({maps})" for maps, loss in self.loss.items())
        return [f"Replacing the attention maps costs {losses} of {self.metric} on {self.split}."]


@dataclass(frozen=True)
class NeuronImportance(Section):
    """Attention received by every held-in neuron, and the loss without some of them."""

    neurons: Sequence[object]  # ids of the held-in neurons
    attention: Sequence[float]  # mean share of a window's attention, of each neuron
    half_split: float | None  # correlation of odd and even windows; None with one window
    with_rate: float | None  # rank correlation with the firing rate; None where one is constant
    metric: str
    split: str
    dropped: Sequence[int]  # numbers of neurons whose inputs are silenced
    loss: Mapping[str, Sequence[float]]  # which neurons -> test score lost, one per number

    KEY: ClassVar[str] = "importance"

    def sentence(self) -> str:
        """Stability of attention, and its correlation with the firing rate; "" if not known."""
        parts = []
        if self.half_split is not None:
            parts.append(
                f"between halves of the windows attention correlates at {self.half_split:.2f}"
            )
        if self.with_rate is not None:
            parts.append(f"with the firing rate, by rank, at {self.with_rate:.2f}")
        return f"{', '.join(parts)}.".capitalize() if parts else ""
