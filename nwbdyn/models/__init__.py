"""The models, one file each; see `nwbdyn.models.base` for the contract.

A model is a file in this folder, or the entry point of another package in the group
`nwbdyn.models`: its name is the name of the entry point, its value the model class. A file whose
name starts with an underscore is a part of a model, not a model. The name of a file here wins.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from nwbdyn.errors import ConfigError, not_among

if TYPE_CHECKING:
    from nwbdyn.models.base import Model

GROUP = "nwbdyn.models"  # of entry points


def names() -> tuple[str, ...]:
    """Names of all models, in alphabetical order. Imports none of them."""
    return tuple(sorted({*_files(), *_entry_points()}))


def load(name: str) -> type["Model"]:
    """The model class called `name`.

    Raises:
        ConfigError: there is no such model, or its file leaves out what a model has to say.
    """
    check_name(name)
    model, origin = _from_file(name) if name in _files() else _from_package(name)
    missing = model.missing_methods()
    if missing:
        raise ConfigError(
            f"{model.__name__} in {origin} does not define {', '.join(missing)}; "
            "nwbdyn.models.base.Model says what each is."
        )
    forms = import_module(f"{__name__}.base").PARAMETERS
    if model.form not in forms:
        raise ConfigError(
            f"{model.__name__} in {origin} has connectivity of the form {model.form!r}; expected "
            f"one of: {', '.join(forms)}."
        )
    return model


def package_of(name: str) -> tuple[str, str] | None:
    """Name and version of the other package that a model comes from; None for a model of nwbdyn."""
    point = None if name in _files() else _entry_points().get(name)
    return None if point is None or point.dist is None else (point.dist.name, point.dist.version)


def check_name(name: str) -> None:
    """Raise ConfigError where there is no model of this name; imports no model."""
    if name not in names():
        raise ConfigError(f"No model named {name!r}{not_among(name, names())}")


def _files() -> set[str]:
    names = {module.name for module in iter_modules(__path__)}
    return {name for name in names if name != "base" and not name.startswith("_")}


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _from_file(name: str) -> "tuple[type[Model], str]":
    module = import_module(f"{__name__}.{name}")
    if not hasattr(module, "MODEL"):
        raise ConfigError(f"{module.__file__} names no model. End it with MODEL = <the class>.")
    return module.MODEL, str(module.__file__)


def _from_package(name: str) -> "tuple[type[Model], str]":
    from nwbdyn.models.base import Model

    point = _entry_points()[name]
    origin = f"the entry point {name} = {point.value}"
    try:
        model = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{origin} cannot be loaded ({error}). Install it again.") from error
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise ConfigError(f"{origin} is no subclass of nwbdyn.models.base.Model.")
    return model, origin
