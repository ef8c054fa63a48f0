"""Nested values of a fit as rows of plain text that a table viewer shows, and back without loss."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

NOISE = 1e-12  # relative difference that is the rounding of a computation, not information


@dataclass(frozen=True)
class Detail:
    """One named value."""

    section: str  # part of the fit, e.g. "config"
    key: str  # levels separated by "."
    value: str
    value_type: str  # "text", "number", "boolean", "null", "json" or "mapping"


def rows(section: str, values: Mapping[str, object]) -> list[Detail]:
    """Every value of nested mappings as one row; lists of plain values as JSON.

    Elements of a list that holds mappings have a row each, under the level `[0]`, `[1]` and so on:
    a table of NWB holds no mapping in a text.
    """
    return [
        Detail(section, key, *_written(value)) for key, value in _leaves(_plain(values), prefix="")
    ]


def nested(details: Iterable[Detail]) -> dict[str, Any]:
    """The mapping that `rows` was given."""
    whole: dict[str | int, Any] = {}
    for detail in details:
        *parents, last = _levels(detail.key)
        level = whole
        for name in parents:
            level = level.setdefault(name, {})
        level[last] = _value(detail)
    return _with_lists(whole)


def tidy(value: float) -> float:
    """The number without the noise of a computation: 0.1 for 0.10000000000000142."""
    if not math.isfinite(value):
        return value
    short = float(f"{value:.9g}")
    return short if math.isclose(value, short, rel_tol=NOISE) else value


def _leaves(values: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        key = name.replace("\\", "\\\\").replace(".", "\\.")
        if key.startswith("["):
            key = f"\\{key}"
        yield from _leaves_of(value, prefix + key)


def _leaves_of(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        yield from _leaves(value, f"{key}.")
    elif isinstance(value, list) and _holds_mapping(value):
        for index, item in enumerate(value):
            yield from _leaves_of(item, f"{key}.[{index}]")
    else:
        yield key, value


def _holds_mapping(value: object) -> bool:
    if isinstance(value, list):
        return any(_holds_mapping(item) for item in value)
    return isinstance(value, Mapping)


def _with_lists(value: Any) -> Any:
    """Mappings whose keys are numbers as the lists that they were."""
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(name, int) for name in value):
        return [_with_lists(value[index]) for index in sorted(value)]
    return {name: _with_lists(item) for name, item in value.items()}


def _levels(key: str) -> list[str | int]:
    """Names between the dots that no backslash precedes; a number for an element of a list."""
    levels, is_index, escaped = [""], [False], False
    for letter in key:
        if escaped or letter not in ".\\":
            is_index[-1] |= letter == "[" and not levels[-1] and not escaped
            levels[-1] += letter
            escaped = False
        elif letter == "\\":
            escaped = True
        else:
            levels.append("")
            is_index.append(False)
    return [
        int(level[1:-1]) if index else level for level, index in zip(levels, is_index, strict=True)
    ]


def _written(value: object) -> tuple[str, str]:
    """(text, type) of a plain value."""
    if isinstance(value, bool):
        return str(value).lower(), "boolean"
    if isinstance(value, int | float):
        return repr(value), "number"
    if value is None:
        return "", "null"
    if isinstance(value, str):
        return value, "text"
    if isinstance(value, Mapping):
        return "", "mapping"  # an empty one: others have rows of their own
    return json.dumps(value, ensure_ascii=False), "json"


def _value(detail: Detail) -> Any:
    text = detail.value
    if detail.value_type == "number":
        return float(text) if any(letter in text for letter in ".einf") else int(text)
    if detail.value_type == "boolean":
        return text == "true"
    if detail.value_type == "null":
        return None
    if detail.value_type == "mapping":
        return {}
    return json.loads(text) if detail.value_type == "json" else text


def _plain(value: object) -> Any:
    """Values that JSON has, numbers tidy; NaN and infinity stay numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return tidy(value)
    return value if isinstance(value, bool | int | str | None) else str(value)
