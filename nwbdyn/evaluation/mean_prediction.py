"""Comparison of every score with the mean, the first question of a verdict.

The primary metrics are 0 for a constant prediction: R2 for the mean of each trace, bits per spike
for the mean rate of each neuron.
"""

import math
from typing import Any

from nwbdyn.evaluation.numbers import signed
from nwbdyn.evaluation.scoring import PERSISTENCE

_OF_TRACES, _SKILL = "r2", "skill"


def sentence(metrics: dict[str, Any], model: str) -> str:
    """The sentence where neither the model nor a baseline is better than the mean; else "".

    Over all draws of held-out neurons, where there are several.

    Args:
        metrics: as metrics.json holds them.
        model: the model's name.
    """
    primary = metrics.get("draws") or metrics["primary"]
    metric, split = primary["metric"], primary["split"]
    own, others = _scores(metrics, metric, split)
    if own is None or own > 0 or any(score > 0 for score in others.values()):
        return ""
    mean = "the mean" if metric == _OF_TRACES else "the mean rates"
    text = f"Nothing predicts better than {mean}: {metric} on {split} is {signed(own)} for {model}"
    if others:
        best = max(others, key=lambda name: others[name])
        text += f" and {signed(others[best])} for the best baseline there, {best}"
    return f"{text}. Do not read scores, couplings or edges of this fit."


def without_skill(metrics: dict[str, Any], names: list[str]) -> list[str]:
    """Names of scores without skill where copying is worse than the mean.

    Skill is the share of the error of copying that is removed. A model that only predicts the mean
    would have a high one there.

    Args:
        metrics: as metrics.json holds them.
        names: of scores.
    """
    split = metrics["primary"]["split"]
    copying = metrics["baselines"].get(PERSISTENCE, {}).get(split, {}).get(_OF_TRACES)
    worse = copying is not None and copying <= 0
    return [name for name in names if not (worse and name.partition("@")[0] == _SKILL)]


def _scores(
    metrics: dict[str, Any], metric: str, split: str
) -> tuple[float | None, dict[str, float]]:
    """The primary score of the model, and those of the baselines that have one."""
    drawn = metrics.get("draws")
    if drawn is not None:
        own = drawn["model"][metric]["mean"]
        scores = {name: one[metric]["mean"] for name, one in drawn["baselines"].items()}
    else:
        own = metrics["model"].get(split, {}).get(metric)
        baselines = metrics.get("baselines", {})
        scores = {name: one.get(split, {}).get(metric) for name, one in baselines.items()}
    known = {name: one for name, one in scores.items() if one is not None and math.isfinite(one)}
    return own if own is not None and math.isfinite(own) else None, known
