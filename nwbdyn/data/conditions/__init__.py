"""Conditions on a neurons' table: parsed, checked and evaluated here, never run as code."""

from collections.abc import Sequence

from nwbdyn.data.conditions.grammar import (
    CALLS,
    Condition,
    ConditionError,
    GrammarError,
    checked,
    shown,
)
from nwbdyn.data.conditions.older import equivalent
from nwbdyn.data.conditions.values import advice, holds

__all__ = ["Condition", "ConditionError", "holds", "parse"]


def parse(text: object, *, columns: Sequence[str] = ()) -> Condition:
    """The condition in `text`.

    Args:
        columns: of the table that it is for, to be named in the error.

    Raises:
        ConditionError: it is not in the grammar; the message has the position and, where there is
            one, the equivalent.
    """
    if not isinstance(text, str):
        raise ConditionError(
            f"The condition is of the kind {type(text).__name__}; it has to be text."
        )
    try:
        return checked(text)
    except GrammarError as problem:
        instead = equivalent(text)
        next_step = (
            f"Write instead: {instead}"
            if instead is not None
            else "A condition has columns, values, comparisons, and/or/not, in, + - * / // % and "
            f"{', '.join(CALLS)}."
        )
        raise ConditionError(
            f"The condition {shown(text)} is refused at character {problem.at + 1}: "
            f"{problem.reason}. {next_step}" + (f" {advice(columns)}" if columns else ""),
            instead,
        ) from None
