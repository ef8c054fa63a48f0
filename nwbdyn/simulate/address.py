"""`sample:NAME?key=value&…` -> the simulation with its parameters, checked."""

from dataclasses import Field, fields

from nwbdyn.errors import AddressError, nearest, not_among
from nwbdyn.simulate.chaotic import Chaotic
from nwbdyn.simulate.constrained import Constrained
from nwbdyn.simulate.cortex import Cortex
from nwbdyn.simulate.driven import Driven
from nwbdyn.simulate.frames import Frames
from nwbdyn.simulate.lorenz import Lorenz
from nwbdyn.simulate.network import Network
from nwbdyn.simulate.parameters import PREFIX, Parameters, written
from nwbdyn.simulate.reach import Reach
from nwbdyn.simulate.ring import Ring
from nwbdyn.simulate.spiking import Spiking
from nwbdyn.simulate.stdp import Stdp
from nwbdyn.simulate.switching import Switching
from nwbdyn.simulate.toy import Toy

KINDS: tuple[type[Parameters], ...] = (
    Cortex,
    Reach,
    Spiking,
    Frames,
    Switching,
    Toy,
    Network,
    Constrained,
    Driven,
    Stdp,
    Ring,
    Lorenz,
    Chaotic,
)
SAMPLES: dict[str, type[Parameters]] = {kind.name: kind for kind in KINDS}


def parse(address: str) -> Parameters:
    """The simulation that an address names.

    Raises:
        AddressError: no such sample or parameter, or a value out of range.
    """
    name, _, query = address[len(PREFIX) :].partition("?")
    if address[: len(PREFIX)].lower() != PREFIX or name not in SAMPLES:
        known = not_among(name, SAMPLES)
        raise AddressError(f"No sample named '{name or address}'{known} Write {PREFIX}NAME.")
    parameters = {field.name: field for field in fields(SAMPLES[name])}
    chosen: dict[str, int | float | str] = {}
    for assignment in filter(None, query.split("&")):
        key, _, text = assignment.partition("=")
        if key not in parameters:
            default = SAMPLES[name]()
            known = ", ".join(f"{k}={written(getattr(default, k))}" for k in parameters)
            meant = nearest(key, parameters)
            raise AddressError(f"{PREFIX}{name} has no parameter '{key}'{meant} It has: {known}.")
        if key in chosen:
            raise AddressError(f"'{address}' gives {key} twice; leave one out.")
        chosen[key] = _value(name, parameters[key], text)
    return SAMPLES[name](**chosen)  # type: ignore[arg-type]


def normalise(address: str) -> str:
    """The address with every parameter written out, in a fixed order.

    Raises:
        AddressError: as `parse`.
    """
    return parse(address).address


def _value(name: str, parameter: Field, text: str) -> int | float | str:
    if "words" in parameter.metadata:
        words = parameter.metadata["words"]
        if text not in words:
            raise AddressError(
                f"{PREFIX}{name} has no {parameter.name} '{text}'; choose from: {', '.join(words)}."
            )
        return text
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
