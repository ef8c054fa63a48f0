"""Progress of a long step: one small record per advance.

The library never prints. A step that takes time accepts `report`, calls it as it goes, and the
command line draws what arrives.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One advance of a long step."""

    stage: str  # "streaming", "training", "baselines", "connectivity", "writing", …
    done: float  # how far, in `unit`
    total: float | None = None  # None when the end is not known
    unit: str = ""  # "bytes", "epochs", "windows", …
    detail: dict[str, float | str] = field(default_factory=dict)  # loss, validation score, …


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The default `report`: do nothing."""
