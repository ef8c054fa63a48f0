"""The specification as the generator script defines it, for tests."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

EXTENSION = Path(__file__).resolve().parents[3]
SCRIPT = EXTENSION / "src" / "spec" / "create_extension_spec.py"


def generator() -> ModuleType:
    """The generator script, imported."""
    folder = str(SCRIPT.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(SCRIPT.stem)
