"""Packages that results can be handed to and that nwbdyn itself does not need."""

from importlib import import_module
from types import ModuleType

from nwbdyn.errors import ResultsError


def load(name: str) -> ModuleType:
    """The package called `name`.

    Raises:
        ResultsError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ResultsError(f"{name} is not installed here. Run `pip install {name}`.") from error
