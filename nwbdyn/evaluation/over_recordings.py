"""A model beside its best baseline over several recordings: in how many it is above."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nwbdyn.evaluation import scoring
from nwbdyn.evaluation.numbers import signed

ABOVE, LEVEL, BELOW = "above", "level", "below"
FEWEST_FLIPPED = 6  # recordings; with five p of a sign-flip test is at least 2 / 2**5 = .0625


@dataclass(frozen=True)
class Standing:
    """The primary scores of one fit on test: the model, and its best baseline."""

    metric: str
    split: str
    score: float | None
    baseline: str | None  # None where none could be scored
    baseline_score: float | None

    @property
    def difference(self) -> float | None:
        """Score minus that of the best baseline; None where one is missing or not finite."""
        if self.score is None or self.baseline_score is None:
            return None
        difference = self.score - self.baseline_score
        return difference if np.isfinite(difference) else None

    @property
    def word(self) -> str:
        """ "above", "level" (the scores differ by no more than `scoring.SAME`), "below" or ""."""
        return "" if self.difference is None else word(self.difference)


def word(difference: float) -> str:
    """Standing of a model whose score differs from its best baseline by this much."""
    if abs(difference) <= scoring.SAME:
        return LEVEL
    return ABOVE if difference > 0 else BELOW


def standing(metrics: dict[str, Any]) -> Standing:
    """The standing of one fit; over all draws of held-out neurons, where there are several.

    Args:
        metrics: as metrics.json holds them.
    """
    primary = metrics["primary"]
    metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
    score = metrics["model"].get(split, {}).get(metric)
    other = metrics["baselines"][baseline].get(split, {}).get(metric) if baseline else None
    if "draws" in metrics:
        drawn = metrics["draws"]
        score = drawn["model"][metric]["mean"]
        other = drawn["baselines"][baseline][metric]["mean"] if baseline else None
    return Standing(metric, split, score, baseline, other)


def sentence(model: str, standings: Sequence[Standing]) -> str:
    """One sentence on a model over several recordings; "" for fewer than two that were scored."""
    known = [one for one in standings if one.difference is not None]
    differences = [one.difference for one in known if one.difference is not None]
    if len(differences) < 2:
        return ""
    test = scoring.sign_flip_test(differences)
    number, above, level = test["num_sessions"], test["num_above"], test["num_level"]
    text = f"{model} is above the best baseline in {above} of {number} recordings"
    if level:
        text += f", level with it in {level}"
    if number - above - level:
        text += f"{' and' if level else ','} below it in {number - above - level}"
    metrics = {(one.metric, one.split) for one in known}
    if len(metrics) > 1:
        return f"{text}."
    metric, split = next(iter(metrics))
    text += f"; the mean difference is {signed(test['mean'])} of {metric} on {split}"
    if number >= FEWEST_FLIPPED:
        text += f" (sign-flip test p = {test['p']:.2g})"
    return f"{text}."
