"""The models, one file each. Listing this folder is the registry; see `nwbdyn.models.base`.

A file whose name starts with an underscore is a part of a model, not a model.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from nwbdyn.errors import ConfigError, not_among

if TYPE_CHECKING:
    from nwbdyn.models.base import Model


def names() -> tuple[str, ...]:
    """The models that are there, by name, in alphabetical order. Imports none of them."""
    found = {module.name for module in iter_modules(__path__)}
    return tuple(sorted(n for n in found if n != "base" and not n.startswith("_")))


def load(name: str) -> type["Model"]:
    """The model class called `name`.

    Raises:
        ConfigError: there is no such model, or its file leaves out what a model has to say.
    """
    if name not in names():
        raise ConfigError(f"No model named {name!r}{not_among(name, names())}")
    module = import_module(f"{__name__}.{name}")
    if not hasattr(module, "MODEL"):
        raise ConfigError(f"{module.__file__} names no model. End it with MODEL = <the class>.")
    missing = module.MODEL.missing_methods()
    if missing:
        raise ConfigError(
            f"{module.MODEL.__name__} in {module.__file__} does not define {', '.join(missing)}; "
            "nwbdyn.models.base.Model says what each is."
        )
    return module.MODEL
