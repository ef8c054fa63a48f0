"""The parameters of a simulation, and the address that writes them out."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from nwbdyn.recording import Recording
from nwbdyn.simulate.truth import Truth

PREFIX = "sample:"


def parameter(default: float, least: float, most: float) -> Any:
    """A field of a simulation: its default and the range it may take."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class Parameters:
    """Base of every simulation; its fields are what an address may set."""

    name: ClassVar[str]

    @property
    def address(self) -> str:
        """The full address, every parameter written out in the order of the fields."""
        values = (f"{field.name}={getattr(self, field.name):.12g}" for field in fields(self))
        return f"{PREFIX}{self.name}?{'&'.join(values)}"

    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""
        raise NotImplementedError
