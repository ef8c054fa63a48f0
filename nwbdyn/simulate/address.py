"""`sample:NAME?key=value&…` -> the simulation with its parameters, checked."""

from dataclasses import Field, fields

from nwbdyn.errors import AddressError
from nwbdyn.simulate.cortex import Cortex
from nwbdyn.simulate.parameters import PREFIX, Parameters
from nwbdyn.simulate.reach import Reach

SAMPLES: dict[str, type[Parameters]] = {kind.name: kind for kind in (Cortex, Reach)}


def parse(address: str) -> Parameters:
    """The simulation that an address names.

    Raises:
        AddressError: no such sample or parameter, or a value out of range.
    """
    name, _, query = address[len(PREFIX) :].partition("?")
    if address[: len(PREFIX)].lower() != PREFIX or name not in SAMPLES:
        raise AddressError(
            f"No sample named '{name or address}'; there are: "
            f"{', '.join(PREFIX + known for known in SAMPLES)}."
        )
    parameters = {field.name: field for field in fields(SAMPLES[name])}
    chosen: dict[str, int | float] = {}
    for assignment in filter(None, query.split("&")):
        key, _, text = assignment.partition("=")
        if key not in parameters:
            known = ", ".join(f"{k}={v.default:g}" for k, v in parameters.items())
            raise AddressError(f"{PREFIX}{name} has no parameter '{key}'; it has: {known}.")
        if key in chosen:
            raise AddressError(f"'{address}' gives {key} twice; leave one out.")
        chosen[key] = _number(name, parameters[key], text)
    return SAMPLES[name](**chosen)


def normalise(address: str) -> str:
    """The address with every parameter written out, in a fixed order.

    Raises:
        AddressError: as `parse`.
    """
    return parse(address).address


def _number(name: str, parameter: Field, text: str) -> int | float:
    least, most = parameter.metadata["least"], parameter.metadata["most"]
    whole = isinstance(parameter.default, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise AddressError(
            f"{PREFIX}{name} cannot take {parameter.name}='{text}'; expected "
            f"{'a whole number' if whole else 'a number'} from {least:g} to {most:g}."
        )
    return value
