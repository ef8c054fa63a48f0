"""The other recordings whose data are in a fit, as its record states them.

They are those that the recording is a copy of, those of a joint fit, and those of the run that the
weights come from. A record that cannot be understood stands for a recording of which nobody knows
the archive.
"""

from collections.abc import Mapping
from typing import Any

from nwbdyn.recording import UNKNOWN_ARCHIVE, Source, source_of

DERIVED_FROM = "derived_from"  # in a fit's environment


def unknown(name: str) -> Source:
    """A source of which nobody knows the archive."""
    return Source(uri=name, url="", instance=UNKNOWN_ARCHIVE)


def stated(environment: object) -> tuple[Source, ...]:
    """The other recordings in a fit's environment; an unknown one where it does not name them."""
    if not isinstance(environment, Mapping):
        return (unknown("the recordings of this fit"),)
    listed: Any = environment.get(DERIVED_FROM)
    decisions = environment.get("asked")
    if listed is None:  # an earlier version did not list them
        is_of_several = isinstance(decisions, Mapping) and not decisions.keys().isdisjoint(
            ("joint", "adopted")
        )
        return (unknown("the other recordings of this fit"),) if is_of_several else ()
    try:
        return tuple(source_of(one) for one in listed)
    except TypeError:
        return (unknown("the other recordings of this fit"),)
