"""Scores of a fit as rows of a table, and what no row of the table holds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Score:
    """One row of the table of scores."""

    method: str | None  # a baseline; None for the model
    split: str
    metric: str
    value: float
    interval: tuple[float, float] | None


def scores(metrics: Mapping[str, object]) -> Iterator[Score]:
    """Every number among the scores, with its interval where both ends are numbers."""
    intervals = _mapping(metrics.get("intervals"))
    for method, by_split, ends in (
        (None, metrics.get("model"), intervals.get("model")),
        *(
            (name, of_baseline, _mapping(intervals.get("baselines")).get(name))
            for name, of_baseline in _mapping(metrics.get("baselines")).items()
        ),
    ):
        for split, by_metric in _mapping(by_split).items():
            for metric, value in _mapping(by_metric).items():
                if not _is_number(value):
                    continue
                both = _mapping(_mapping(ends).get(split)).get(metric)
                interval = None
                if isinstance(both, list | tuple) and len(both) == 2 and all(map(_is_number, both)):
                    interval = float(both[0]), float(both[1])
                yield Score(
                    method,
                    split,
                    metric,
                    float(value),  # type: ignore[arg-type]
                    interval,
                )


def score_table(metrics: Mapping[str, object], model: str) -> pd.DataFrame:
    """One row per score: method, split, metric, value, low and high (95 %, NaN where unknown)."""
    rows = [
        (score.method or model, score.split, score.metric, score.value)
        + (score.interval or (np.nan, np.nan))
        for score in scores(metrics)
    ]
    return pd.DataFrame(rows, columns=["method", "split", "metric", "value", "low", "high"])


def scores_beside(metrics: Mapping[str, object]) -> dict[str, object]:
    """The scores without those that `scores` gives: what the table of scores does not hold."""
    rest = _copied(metrics)
    for score in scores(metrics):
        where = ("model",) if score.method is None else ("baselines", score.method)
        _remove(rest, (*where, score.split, score.metric))
        if score.interval is not None:
            _remove(rest, ("intervals", *where, score.split, score.metric))
    return rest


def with_scores(rest: dict[str, Any], table: Iterable[Score]) -> dict[str, Any]:
    """The scores again, from what `scores_beside` left and the table."""
    for score in table:
        where = ("model",) if score.method is None else ("baselines", score.method)
        _insert(rest, (*where, score.split, score.metric), score.value)
        if score.interval is not None:
            path = ("intervals", *where, score.split, score.metric)
            _insert(rest, path, list(score.interval))
    return rest


def _copied(value: object) -> Any:
    return {k: _copied(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _remove(values: dict[str, Any], path: tuple[str, ...]) -> None:
    """Remove a value, and the mappings that are empty without it."""
    first, *rest = path
    if rest:
        _remove(values[first], tuple(rest))
        if values[first]:
            return
    del values[first]


def _insert(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    *parents, last = path
    for name in parents:
        values = values.setdefault(name, {})
    values[last] = value


def score_of(by_split: object, split: str, metric: str) -> float | None:
    """One score of a method; None where it has none."""
    value = _mapping(_mapping(by_split).get(split)).get(metric)
    return float(value) if _is_number(value) else None  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
