"""Section "held_out": scores of single held-out neurons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.difference import Interval, span
from nwbdyn.results.sections.repeats import HeldoutResampleScores
from nwbdyn.results.sections.section import Section


@dataclass(frozen=True)
class HeldOutScores(Section):
    """co_bps of every held-out neuron on test, and intervals over neurons and trials."""

    metric: str
    split: str
    num_neurons: int
    neurons: Sequence[object]  # ids
    model: Sequence[float | None]  # score of each neuron; None or NaN for a silent one
    baselines: Mapping[str, Sequence[float | None]]  # name -> likewise
    intervals: Mapping[str, Interval]  # "model", and "difference" to the best baseline; 95 %
    stated: bool | None = None  # the file states which neurons are held out

    KEY: ClassVar[str] = "held_out"

    def sentences(self, resamples: HeldoutResampleScores | None) -> list[str]:
        """Spread of the score over trials and neurons, and over sets of held-out neurons."""
        if resamples is not None:
            spread, ends = resamples.model[self.metric], resamples.intervals.get("model")
            shown = f", {span(ends)} over trials and neurons" if ends else ""
            return [
                f"Over {resamples.num_draws} draws of held-out neurons: {self.metric} "
                f"{spread['mean']:.3f} +- {spread['sd']:.3f} (sd){shown}. Predictions and the "
                "table of scores are those of the first draw."
            ]
        shown = span(self.intervals["model"])
        held = f"{self.num_neurons} neurons held out"
        lines = [f"{self.metric} over trials and {held}: {shown}."] if shown else []
        if self.stated is False:
            lines.append("One draw of held-out neurons: it says as much of them as of the model.")
        return lines
