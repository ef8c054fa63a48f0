"""Validation of a file by the specification inside it, in every supported pynwb."""

from pathlib import Path
from typing import Any

import pynwb


def problems(path: Path) -> list[Any]:
    """Errors of pynwb's validation; none for a valid file."""
    if int(pynwb.__version__.partition(".")[0]) < 3:
        errors, _ = pynwb.validate(paths=[str(path)])
        return errors
    return pynwb.validate(path=str(path))
