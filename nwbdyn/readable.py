"""Sizes and durations as texts for people."""

import math

_BYTES = ("B", "KB", "MB", "GB", "TB")


def size(num_bytes: float | None) -> str:
    """A size to read: 1.5 MB; "?" when it is not known."""
    if num_bytes is None:
        return "?"
    for unit in _BYTES:
        if num_bytes < 1000 or unit == _BYTES[-1]:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """A duration to read: 45 s, 12.3 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def milliseconds(value: float) -> str:
    """A short time to read, with two digits: 0.35 ms, 3.5 ms, 170 ms."""
    digits = max(0, 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f} ms" if value < 100 else f"{float(f'{value:.2g}'):.0f} ms"
