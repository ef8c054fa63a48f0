"""Sentence on the rung of the ladder that validation kept for a model on a closed-form core."""

from collections.abc import Mapping
from typing import Any


def sentences(ladder: Mapping[str, Any] | None, model: str) -> list[str]:
    """Which rung the fit is, and what became of the model's own part; none without a ladder.

    Args:
        ladder: metrics["ladder"].
        model: the model's name.
    """
    if ladder is None:
        return []
    own, unit = ladder["own_part"], ladder["unit"]
    lower = _highest(ladder["rungs"])
    fitted = f"{lower}, {ladder['rungs'][lower]['is']}"
    if own is None:
        return [f"The fit is {fitted}, alone."]
    gain = _gain(own)
    if own["above"]:
        return [
            f"Validation kept {model}'s own part on top of {fitted}: it gains {gain} {unit} there."
        ]
    return [
        f"Validation kept {fitted}; {model}'s own part is left out, it gains {gain} {unit} there."
    ]


def _highest(rungs: Mapping[str, Any]) -> str:
    """The highest rung that is used."""
    return [name for name, rung in rungs.items() if rung["used"]][-1]


def _gain(gain: Mapping[str, Any]) -> str:
    mean, error = gain["mean"], gain["error"]
    if mean is None or mean != mean or mean == float("-inf"):
        return "nothing finite"
    if error is None or error != error:
        return f"{mean:+.4f} (too few blocks for a standard error)"
    return f"{mean:+.4f} +- {error:.4f}"
