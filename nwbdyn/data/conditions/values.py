"""The value of a condition for every row of a table, in Python's own numbers and texts."""

import ast
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nwbdyn.data.conditions.grammar import (
    ARITHMETIC,
    COMPARE,
    MEMBERSHIP,
    Condition,
    GrammarError,
    shown,
)
from nwbdyn.errors import ConfigError, not_among

Scalar = bool | int | float | str | None  # None: unknown
Column = list[Scalar]


def holds(condition: Condition, table: pd.DataFrame) -> np.ndarray:
    """(num_rows,) bool: where the condition holds.

    An unknown value (NaN, None) satisfies no comparison but `!=` and `not in`. Flags compare with
    numbers as 0 and 1 do; text equals no number, and has no order beside numbers.

    Raises:
        ConfigError: the table lacks a column, a column holds something else than numbers, text or
            flags, text is compared with numbers, or the condition is not true or false per row.
    """
    for name in condition.columns:
        if name not in table.columns:
            raise ConfigError(
                f"The condition {shown(condition.text)} names the column {name!r}, which the table "
                f"lacks{_near(name, table)} {advice(list(table.columns))}"
            )
    try:
        return np.array(_Evaluation(condition, table).flags(condition.tree), dtype=bool)
    except GrammarError as problem:
        raise ConfigError(
            f"The condition {shown(condition.text)} cannot be used at character {problem.at + 1}: "
            f"{problem.reason}. {advice(list(table.columns))}"
        ) from None


class _Evaluation:
    """The value of a checked tree for every row of a table."""

    def __init__(self, condition: Condition, table: pd.DataFrame) -> None:
        self._condition = condition
        self._table = table

    def flags(self, node: ast.expr) -> list[bool]:
        """The value of a node as true or false, an unknown one as false."""
        values = self.value(node)
        known = [one for one in values if one is not None]
        if not all(isinstance(one, bool) for one in known) or (values and not known):
            raise self.problem(node, "this is not true or false for each neuron")
        return [one is True for one in values]

    def value(self, node: ast.expr) -> Column:
        match node:
            case ast.Name():
                return self._column(node)
            case ast.Constant():
                return [node.value] * len(self._table)  # type: ignore[list-item]
            case ast.BoolOp():
                parts = [self.flags(one) for one in node.values]
                every = all if isinstance(node.op, ast.And) else any
                return [every(row) for row in zip(*parts, strict=True)]
            case ast.UnaryOp(op=ast.Not()):
                return [not one for one in self.flags(node.operand)]
            case ast.UnaryOp():
                numbers = self._numbers(node.operand)
                sign = -1 if isinstance(node.op, ast.USub) else 1
                return [None if one is None else sign * one for one in numbers]
            case ast.BinOp():
                pairs = zip(self._numbers(node.left), self._numbers(node.right), strict=True)
                return [_calculated(ARITHMETIC[type(node.op)], *pair) for pair in pairs]
            case ast.Compare():
                return self._compare(node)
            case ast.Call():
                return self._call(node)
        raise AssertionError(f"{type(node).__name__} passed the check")

    def problem(self, node: ast.expr, reason: str) -> GrammarError:
        return GrammarError(reason, self._condition.position(node))

    def _column(self, node: ast.Name) -> Column:
        values = self._table[self._condition.column(node)].tolist()
        try:
            return [_plain(one) for one in values]
        except TypeError as error:
            raise self.problem(
                node,
                f"column {self._condition.column(node)!r} holds {error}, not numbers, text, flags",
            ) from None

    def _numbers(self, node: ast.expr) -> list[Any]:
        values = self.value(node)
        if any(isinstance(one, str) for one in values):
            raise self.problem(node, "arithmetic takes numbers, and this is text")
        return values

    def _compare(self, node: ast.Compare) -> Column:
        held = [True] * len(self._table)
        left = self.value(node.left)
        for op, other in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, MEMBERSHIP):
                listed = _listed(other)
                wanted = isinstance(op, ast.In)
                matches = [(one is not None and one in listed) == wanted for one in left]
                right = left
            else:
                right = self.value(other)
                if not isinstance(op, ast.Eq | ast.NotEq):
                    self._check_ordered(left, right, other)
                matches = [
                    _compared(COMPARE[type(op)], *pair) for pair in zip(left, right, strict=True)
                ]
            held = [before and now for before, now in zip(held, matches, strict=True)]
            left = right
        return list(held)

    def _check_ordered(self, left: Column, right: Column, node: ast.expr) -> None:
        for a, b in zip(left, right, strict=True):
            if a is not None and b is not None and isinstance(a, str) != isinstance(b, str):
                raise self.problem(node, f"text has no order beside numbers ({a!r} and {b!r})")

    def _call(self, node: ast.Call) -> Column:
        assert isinstance(node.func, ast.Name)
        assert isinstance(node.args[0], ast.Name)
        name, column = node.func.id, self._column(node.args[0])
        if name in ("isna", "notna"):
            return [(one is None) == (name == "isna") for one in column]
        if not any(isinstance(one, str) for one in column):
            raise self.problem(node.args[0], f"{name} takes a column of text, and this has none")
        text = node.args[1]
        assert isinstance(text, ast.Constant)
        assert isinstance(text.value, str)
        test = str.startswith if name == "startswith" else str.__contains__
        return [isinstance(one, str) and test(one, text.value) for one in column]


def _plain(value: object) -> Scalar:
    """A value of a table as Python's own; None where it is unknown.

    Raises:
        TypeError: it is neither a number nor text nor a flag; the message names its kind.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, bool | int | str):
        return value
    raise TypeError(f"values of the kind {type(value).__name__}")


def _compared(compare: Callable[[Any, Any], bool], a: Scalar, b: Scalar) -> bool:
    if a is None or b is None:
        return compare is operator.ne
    return bool(compare(a, b))


def _calculated(calculate: Callable[[Any, Any], Any], a: Any, b: Any) -> Scalar:
    """Unknown where an operand is, or where the result is no number, as in 0 / 0."""
    if a is None or b is None:
        return None
    try:
        value = calculate(a, b)
    except ZeroDivisionError:
        if calculate is not operator.truediv or not a:
            return None
        return math.copysign(math.inf, a) * math.copysign(1, b)
    except OverflowError:
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def _listed(node: ast.expr) -> set[Scalar]:
    assert isinstance(node, ast.List | ast.Tuple)
    return {ast.literal_eval(item) for item in node.elts}


def _near(name: str, table: pd.DataFrame) -> str:
    names = [str(column) for column in table.columns]
    return not_among(name, names).partition(" Choose from:")[0]


def advice(columns: Sequence[object]) -> str:
    """The sentence that ends an error about a condition on a table with these columns."""
    has = ", ".join(map(str, columns))
    return f'Compare columns with values, as in "{columns[0]} != 3"; there are: {has}.'
