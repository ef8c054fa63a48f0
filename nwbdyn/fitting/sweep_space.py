"""Candidates of a sweep: points of a grid, points written out, or points drawn at random.

    grid:                       # every combination
      history: [2, 4, 8]
      learning_rate: [1e-3, 1e-2]

    list:                       # these and no others
      - {history: 4}
      - {history: 8, embedding: 10}

    random:                     # so many draws
      draws: 20
      seed: 0
      from:
        learning_rate: {log: [1e-4, 1e-1]}
        dropout: {uniform: [0.0, 0.5]}
        embedding: {whole: [2, 30]}
        history: [2, 4, 8]      # one of these

A file holds one of the three, or several, whose points are put together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from nwbdyn.errors import ConfigError

Point = dict[str, object]  # option of a model -> value
MOST = 10_000  # points; a grid has more of them than its author thought


def read(path: Path) -> dict[str, object]:
    """The space in a YAML (1.2) or JSON file.

    Raises:
        ConfigError: it cannot be read, or is no table.
    """
    from ruamel.yaml import YAML, YAMLError

    try:
        space = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        raise ConfigError(
            f"The sweep {path} cannot be read: {' '.join(str(error).split())}."
        ) from error
    if not isinstance(space, dict):
        raise ConfigError(f"The sweep {path} holds no table. It has grid, list or random.")
    return space


def points(space: Mapping[str, object] | Path | str) -> tuple[Point, ...]:
    """Every point of a space, in the order of the file, each once.

    Args:
        space: a file for `read`, or a table: "grid" {option: values}, "list" [{option: value}],
            "random" {"draws", "seed", "from" {option: values, or {kind: [low, high]}}}, where the
            kind is "uniform", "log" or "whole".

    Raises:
        ConfigError: it is none of these, or has no point or more than MOST.
    """
    space = space if isinstance(space, Mapping) else read(Path(space))
    kinds: dict[str, Callable[[Any], list[Point]]] = {
        "grid": _grid,
        "list": _list,
        "random": _random,
    }
    unknown = [name for name in space if name not in kinds]
    if unknown or not space:
        names = ", ".join(map(repr, unknown)) or "nothing"
        raise ConfigError(f"A sweep has grid, list or random; this one has {names}.")
    all_points = [point for name, part in space.items() for point in kinds[name](part)]
    unique = [p for k, p in enumerate(all_points) if p not in all_points[:k]]
    if not unique:
        raise ConfigError("The sweep has no point. Give every option at least one value.")
    return tuple(unique)


def _grid(axes: object) -> list[Point]:
    values = _values(axes, "grid")
    number = math.prod(len(some) for some in values.values())
    if number > MOST:
        raise ConfigError(f"The grid has {number} points, {MOST} at most. Draw them at random.")
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def _list(rows: object) -> list[Point]:
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigError(f"list: a list of tables of options is expected, not {rows!r}.")
    return [dict(row) for row in rows]


def _random(section: object) -> list[Point]:
    if not isinstance(section, Mapping) or set(section) - {"draws", "seed", "from"}:
        raise ConfigError(f"random: draws, seed and from are expected, not {section!r}.")
    draws, seed, options = section.get("draws"), section.get("seed", 0), section.get("from")
    if not isinstance(draws, int) or not 1 <= draws <= MOST:
        raise ConfigError(f"random: draws is {draws!r}; it is a number from 1 to {MOST}.")
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"random: seed is {seed!r}; it is a whole number, 0 or more.")
    if not isinstance(options, Mapping) or not options:
        raise ConfigError(f"random: from is {options!r}; it says what each option is drawn from.")
    rng = np.random.default_rng(seed)
    return [
        {name: _drawn(name, source, rng) for name, source in options.items()} for _ in range(draws)
    ]


def _drawn(name: str, source: object, rng: np.random.Generator) -> object:
    """One value of an option."""
    if isinstance(source, list) and source:
        return source[int(rng.integers(len(source)))]
    if not isinstance(source, Mapping) or len(source) != 1:
        raise ConfigError(
            f"random: {name} is drawn from {source!r}; give a list of values, or one of "
            "{uniform: [low, high]}, {log: [low, high]} and {whole: [low, high]}."
        )
    kind, ends = next(iter(source.items()))
    low, high = _ends(name, kind, ends)
    if kind == "uniform":
        return float(rng.uniform(low, high))
    if kind == "log":
        return float(np.exp(rng.uniform(math.log(low), math.log(high))))
    return int(rng.integers(int(low), int(high) + 1))


def _ends(name: str, kind: str, ends: object) -> tuple[float, float]:
    given = ends if isinstance(ends, list) else []
    numbers = [end for end in given if isinstance(end, int | float)]
    if kind not in ("uniform", "log", "whole") or not len(given) == len(numbers) == 2:
        raise ConfigError(
            f"random: {name} has {kind}: {ends!r}; uniform, log or whole take [low, high]."
        )
    low, high = numbers
    if not low < high or (kind == "log" and low <= 0):
        above = " and above 0" if kind == "log" else ""
        raise ConfigError(f"random: {name} has {kind}: {ends!r}; low is below high{above}.")
    return low, high


def _values(axes: object, where: str) -> dict[str, list[object]]:
    if not isinstance(axes, Mapping) or not axes:
        raise ConfigError(
            f"{where}: a table of options and their values is expected, not {axes!r}."
        )
    for name, values in axes.items():
        if not isinstance(values, list):
            raise ConfigError(f"{where}: {name} is {values!r}; a list of values is expected.")
    return dict(axes)
