"""Columns of flags: true and false, however a file spells them."""

import numpy as np
import pandas as pd

TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE = frozenset({"false", "f", "no", "n", "0", "0.0", "", "nan", "none", "n/a"})


def flags(column: pd.Series) -> np.ndarray | None:
    """(n,) bool of a column of flags, numbers or words; None where a value is neither.

    Numbers are 0 and 1; a missing value is false. Words are those of TRUE and FALSE in any case.
    """
    if pd.api.types.is_bool_dtype(column):
        return column.fillna(False).to_numpy(dtype=bool)
    words = column.map(lambda value: "" if _is_missing(value) else str(_plain(value))).str.strip()
    lowered = words.str.lower()
    if not lowered.isin(TRUE | FALSE).all():
        return None
    return lowered.isin(TRUE).to_numpy(dtype=bool)


def _plain(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
