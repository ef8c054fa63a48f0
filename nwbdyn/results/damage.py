"""One line where a value in the files of a run, or in an exported file, is of the wrong kind.

Files of others hold whatever they hold. What a reader can check as it reads, it checks there; this
catches the rest where results are shown or written on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nwbdyn.errors import ResultsError

_OF_WRONG_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@contextmanager
def as_error(name: str | Path) -> Iterator[None]:
    """Turn what a value of the wrong kind causes into a ResultsError.

    Args:
        name: what is read: a run directory, a file or a recording.

    Raises:
        ResultsError: the block met such a value; its own error is the cause.
    """
    try:
        yield
    except _OF_WRONG_VALUES as error:
        raise ResultsError(
            f"The results of {name} hold a value of the wrong kind ({type(error).__name__}: "
            f"{error}). Fit again, or copy them again from their source. If they were not "
            "changed, please report this message."
        ) from error
