"""Options of a model: their names, their values, and the Config that they make."""

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import get_args, get_type_hints

from nwbdyn.errors import ConfigError, not_among
from nwbdyn.models.base import BaseConfig, Layout, Model

_AT_LEAST_ONE = ("epochs", "updates", "batch_size", "validate_every")
_POSITIVE = ("patience",)
_NOT_NEGATIVE = ("learning_rate", "weight_decay", "clip_norm")
_SHARES = ("validate_from", "stop_after")


def configure(
    name: str, model_class: type[Model], layout: Layout, options: Mapping[str, object]
) -> BaseConfig:
    """The model's Config for these data, or a ConfigError that lists the options.

    A number of epochs takes the place of the updates that a model counts by default.
    """
    check_options(name, model_class, options)
    chosen = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    if chosen.get("epochs") is not None:
        chosen.setdefault("updates", None)
    try:
        return model_class.configure(layout, **chosen)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be set up so: {error}.") from error


def check_options(name: str, model_class: type[Model], options: Mapping[str, object]) -> None:
    """Refuse options that no recording could be fitted with.

    Raises:
        ConfigError: an unknown option, or a value of another type.
    """
    presets = model_class.presets
    allowed = {item.name for item in fields(model_class.Config)}
    allowed |= {"preset"} if presets else set()
    for option, value in options.items():
        if option not in allowed:
            raise ConfigError(f"{name} has no option {option!r}{not_among(option, allowed)}")
        if option != "preset":
            _check_value(name, model_class, option, value)
        elif value is not None and str(value) not in presets:
            raise ConfigError(f"{name} has no preset {value!r}{not_among(str(value), presets)}")


def _check_value(name: str, model_class: type[Model], option: str, value: object) -> None:
    """Refuse a value of another type than the field's, or a number that makes no sense."""
    hint = get_type_hints(model_class.Config)[option]
    kinds = tuple(getattr(kind, "__origin__", kind) for kind in get_args(hint) or (hint,))
    if list in map(type, (value,)) and tuple in kinds:
        return
    if isinstance(value, bool) and bool not in kinds:
        fits = False
    elif isinstance(value, int) and float in kinds:
        fits = True
    else:
        fits = isinstance(value, kinds)
    if not fits:
        expected = " or ".join("none" if k is NoneType else k.__name__ for k in kinds)
        raise ConfigError(f"{name}: {option} is {value!r}; it takes {expected}.")
    if option in _AT_LEAST_ONE and isinstance(value, int) and value < 1:
        raise ConfigError(f"{name}: {option} is {value}; it is at least 1.")
    if option in _POSITIVE and isinstance(value, int | float) and value <= 0:
        raise ConfigError(f"{name}: {option} is {value}; it is above 0.")
    if option in _NOT_NEGATIVE and isinstance(value, int | float) and value < 0:
        raise ConfigError(f"{name}: {option} is {value}; it is not negative.")
    if option in _SHARES and isinstance(value, int | float) and not 0 <= value <= 1:
        raise ConfigError(f"{name}: {option} is {value}; it is a share from 0 to 1.")


def training_length(epochs: int | None, options: Mapping[str, object]) -> dict[str, object]:
    """The options that a number of epochs sets, for a model that may count updates.

    Raises:
        ConfigError: `options` say how long, too.
    """
    if epochs is None:
        return {}
    twice = [name for name in ("epochs", "updates") if options.get(name) is not None]
    if twice:
        raise ConfigError(
            f"The training length is given twice: epochs is {epochs}, and {twice[0]} among the "
            f"options is {options[twice[0]]}. Give one of them."
        )
    return {"epochs": epochs, "updates": None}
