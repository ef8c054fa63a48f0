"""Packages that nwbdyn itself does not need: those it hands results to, and engines."""

from importlib import import_module
from types import ModuleType

from nwbdyn.errors import ConfigError, ResultsError


def load(name: str) -> ModuleType:
    """The package called `name`.

    Raises:
        ResultsError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ResultsError(f"{name} is not installed here. Run `pip install {name}`.") from error


def engine(name: str, extra: str) -> ModuleType:
    """The package called `name`, which comes with the extra `nwbdyn[extra]`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name} is not installed here. Run `pip install 'nwbdyn[{extra}]'`."
        ) from error
