"""Candidates of a sweep: the points of a grid, or points written out.

    grid:                       # every combination
      history: [2, 4, 8]
      learning_rate: [1e-3, 1e-2]

    list:                       # these and no others
      - {history: 4}
      - {history: 8, embedding: 10}

A file holds one of the two, or both, whose points are put together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

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
        raise ConfigError(f"The sweep {path} holds no table. It has grid or list.")
    return space


def points(space: Mapping[str, object] | Path | str) -> tuple[Point, ...]:
    """Every point of a space, in the order of the file, each once.

    Args:
        space: a file for `read`, or a table: "grid" {option: values}, "list" [{option: value}].

    Raises:
        ConfigError: it is none of these, or has no point or more than MOST.
    """
    space = space if isinstance(space, Mapping) else read(Path(space))
    kinds: dict[str, Callable[[Any], list[Point]]] = {"grid": _grid, "list": _list}
    unknown = [name for name in space if name not in kinds]
    if unknown or not space:
        names = ", ".join(map(repr, unknown)) or "nothing"
        raise ConfigError(f"A sweep has grid or list; this one has {names}.")
    all_points = [point for name, part in space.items() for point in kinds[name](part)]
    unique = [p for k, p in enumerate(all_points) if p not in all_points[:k]]
    if not unique:
        raise ConfigError("The sweep has no point. Give every option at least one value.")
    return tuple(unique)


def _grid(axes: object) -> list[Point]:
    values = _values(axes, "grid")
    number = math.prod(len(some) for some in values.values())
    if number > MOST:
        raise ConfigError(
            f"The grid has {number} points, {MOST} at most. Write some out as a list."
        )
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def _list(rows: object) -> list[Point]:
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigError(f"list: a list of tables of options is expected, not {rows!r}.")
    return [dict(row) for row in rows]


def _values(axes: object, where: str) -> dict[str, list[object]]:
    if not isinstance(axes, Mapping) or not axes:
        raise ConfigError(
            f"{where}: a table of options and their values is expected, not {axes!r}."
        )
    for name, values in axes.items():
        if not isinstance(values, list):
            raise ConfigError(f"{where}: {name} is {values!r}; a list of values is expected.")
    return dict(axes)
