"""Packages that nwbdyn itself does not need: those it hands results to, and engines."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nwbdyn.errors import ConfigError, ResultsError

if TYPE_CHECKING:
    import pandas as pd


def load(name: str) -> ModuleType:
    """The package called `name`.

    Raises:
        ResultsError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ResultsError(f"{name} is not installed here. Run `pip install {name}`.") from error


def engine(name: str, extra: str, *, module: str | None = None) -> ModuleType:
    """The package called `name`, which comes with the extra `nwbdyn[extra]`, or a module of it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(module or name)
    except ImportError as error:
        raise ConfigError(
            f"{name} is not installed here. Run `pip install 'nwbdyn[{extra}]'`."
        ) from error


def interval_set(table: "pd.DataFrame") -> Any:
    """A pynapple IntervalSet of a table with start_time and stop_time, in seconds.

    Every other column that holds numbers or texts goes along as metadata. pynapple keeps the
    intervals in time order, without those that take no time, and cuts those that overlap.
    """
    nap = load("pynapple")
    starts = table["start_time"].to_numpy(float)
    stops = table["stop_time"].to_numpy(float)
    known = table.drop(columns=["id", "start_time", "stop_time"], errors="ignore")
    plain = [
        column
        for column in known
        if known[column].dtype.kind in "biuf" or all(isinstance(v, str) for v in known[column])
    ]
    return nap.IntervalSet(start=starts, end=stops, metadata=known[plain])
