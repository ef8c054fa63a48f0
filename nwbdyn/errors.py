"""Everything nwbdyn raises on purpose, in one tree.

    NwbdynError
    ├── AddressError     an address that names nothing: wrong id, version, path or file
    ├── ArchiveError     the archive could not be reached, refused access, or rejected an upload
    ├── StreamError      bytes of a remote file did not arrive as they should
    ├── ReadError        a file that is not NWB, or is damaged
    │   └── NoActivityError   an NWB file that holds nothing of what is to be fitted
    ├── DataError        a recording that cannot be fitted as requested
    ├── ConfigError      an unknown model, option or value
    ├── FitError         training stopped: loss not finite, resume impossible
    └── ResultsError     a run directory or an output file that cannot be used

Each message is one line with the value, what was expected and what to do next. It names options as
the interface in use spells them (`nwbdyn.spelling`).
The command line catches this tree only; anything else is a bug and keeps its traceback.
"""

from collections.abc import Collection
from difflib import get_close_matches

from nwbdyn.spelling import spelled


class NwbdynError(Exception):
    """Base of every error that nwbdyn raises on purpose."""

    def __str__(self) -> str:
        return spelled(super().__str__())


class AddressError(NwbdynError):
    """An address names nothing that can be opened."""


class ArchiveError(NwbdynError):
    """The archive could not be reached, refused access, or rejected an upload."""


class StreamError(NwbdynError):
    """Bytes of a remote file did not arrive, or are not the requested ones."""


class ReadError(NwbdynError):
    """A file is not NWB, or is damaged, or holds no activity."""


class NoActivityError(ReadError):
    """An NWB file holds no spike times and no ROI traces, or none of the requested kind."""


class DataError(NwbdynError):
    """A recording cannot be fitted as requested (one neuron, no usable bins, no such table)."""


class ConfigError(NwbdynError):
    """An unknown model, option or value."""


class FitError(NwbdynError):
    """Training stopped before its end, or cannot be resumed."""


class ResultsError(NwbdynError):
    """A run directory or an output file cannot be read, written or overwritten."""


def not_among(name: str, names: Collection[str]) -> str:
    """End of a sentence about an unknown name: the nearest name, and the list of names.

    Args:
        names: those that are there.
    """
    return f"{nearest(name, names)} Choose from: {', '.join(sorted(names))}."


def nearest(name: str, names: Collection[str], form: str = "{}") -> str:
    """End of a sentence about an unknown name: the nearest name, if one is similar.

    Args:
        names: those that are there.
        form: how the nearest name is written.
    """
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {form.format(near[0])}?" if near else "."
