"""Section "ladder": the rung that validation kept for a model on a closed-form core."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from nwbdyn.results.sections.section import Record, Section


@dataclass(frozen=True)
class RungGain(Record):
    """Gain over the rung below on validation."""

    mean: float | None
    error: float | None  # standard error; None or NaN with too few blocks
    num_blocks: int
    above: bool  # it is large enough to keep the rung

    def __str__(self) -> str:
        mean, error = self.mean, self.error
        if mean is None or mean != mean or mean == float("-inf"):
            return "nothing finite"
        if error is None or error != error:
            return f"{mean:+.4f} (too few blocks for a standard error)"
        return f"{mean:+.4f} +- {error:.4f}"


@dataclass(frozen=True)
class Rung(Record):
    """One rung of the ladder."""

    is_: str  # what it adds
    used: bool
    gain: RungGain | None
    chosen: Any  # settings that validation chose

    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"gain": RungGain}


@dataclass(frozen=True)
class KeptRung(Section):
    """Rungs, the decision of validation about each, and the rung of the final fit."""

    kept: str  # name of the rung
    rungs: Mapping[str, Rung]
    own_part: RungGain | None  # of the model's own part; None for a model without one
    unit: str

    KEY: ClassVar[str] = "ladder"
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {"own_part": RungGain}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """As `Record.from_json`, with a record for each rung."""
        rungs = {name: Rung.from_json(one) for name, one in values["rungs"].items()}
        return super().from_json({**values, "rungs": rungs})

    def sentences(self, model: str) -> list[str]:
        """Which rung the fit is, and what became of the model's own part."""
        lower = [name for name, rung in self.rungs.items() if rung.used][-1]
        fitted = f"{lower}, {self.rungs[lower].is_}"
        own, unit = self.own_part, self.unit
        if own is None:
            return [f"The fit is {fitted}, alone."]
        if own.above:
            return [
                f"Validation kept {model}'s own part on top of {fitted}: it gains {own} {unit} "
                "there."
            ]
        return [
            f"Validation kept {fitted}; {model}'s own part is left out, it gains {own} {unit} "
            "there."
        ]
