"""One line where memory ran out, whichever library noticed it first."""

import errno

from nwbdyn.data import limits

_SIGNS = (  # of libraries that have no class of their own for it
    "can't allocate memory",  # torch
    "cannot allocate memory",  # the loader of shared libraries
    "failed to map segment",
    "can't start new thread",
)


def line(error: Exception) -> str | None:
    """One line for an error of exhausted memory or disk; None for any other."""
    if not _is_of_memory(error):
        return None
    limit = limits.memory()
    stated = "" if limit is None else f": {limit.source} {limit.size / 1e9:.3g} GB"
    return (
        f"Memory ran out{stated}. Choose fewer neurons with --where, a larger --bin-width or fewer "
        "--seeds, or raise the limit."
    )


def _is_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    if isinstance(error, SystemError):  # an import that ran out of memory, as Python words it
        return "without setting an exception" in text and limits.address_space() is not None
    return isinstance(error, ImportError | OSError | RuntimeError) and any(
        sign in text for sign in _SIGNS
    )
