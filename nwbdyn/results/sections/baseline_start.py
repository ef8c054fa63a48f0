"""Section "on_baseline": a model that starts from a baseline, and whether validation kept it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.repeats import HeldoutResampleScores
from nwbdyn.results.sections.section import Section

BySplit = Mapping[str, Mapping[str, float]]  # split -> metric -> score


@dataclass(frozen=True)
class BaselineStart(Section):
    """Gain of the part trained on top of a baseline, of the seed with the best validation loss."""

    baseline: str
    kept: bool
    gain: float  # on validation, bits per spike
    error: float | None  # its standard error; None with too few blocks
    num_blocks: int
    weight: float  # of the trained part in the average
    scores: Mapping[str, BySplit]  # "transformer" and "average", kept or not
    seeds: Mapping[str, bool] | None = None  # seed -> kept

    KEY: ClassVar[str] = "on_baseline"
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"seeds"})

    def sentences(self, resamples: HeldoutResampleScores | None) -> list[str]:
        """Decision of validation on the part that was trained on top of the baseline."""
        name = self.baseline
        error = "" if self.error is None else f" (standard error {self.error:.4f})"
        gain = f"{self.gain:+.4f} bits per spike{error} over {self.num_blocks} blocks"
        if self.kept:
            sentence = f"It starts from {name} and adds to it on validation: {gain}; its weight is "
            sentence += f"{self.weight:.1f}."
        else:
            sentence = (
                f"Validation kept {name}: what was trained on top of it adds {gain}, which is not "
                f"above one standard error. The predictions are those of {name}."
            )
        if resamples is not None and resamples.num_kept is not None:
            sentence += (
                f" Of {resamples.num_draws} draws, {resamples.num_kept} kept the trained part."
            )
        return [sentence]

    def rows(self) -> dict[str, BySplit]:
        """Rows of a table of scores: what was trained, and the average."""
        return {
            "  on its baseline": self.scores["transformer"],
            f"  average ({self.weight:.1f} of it)": self.scores["average"],
        }
