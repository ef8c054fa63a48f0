"""The parameters of a simulation, and the address that writes them out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from nwbdyn.recording import Neurons, Recording, Source, SpikeTimes, Traces
from nwbdyn.simulate.truth import Truth

PREFIX = "sample:"
START = "2024-01-01T12:00:00+00:00"


def parameter(default: float, least: float, most: float) -> Any:
    """A number among a simulation's fields: its default and the range it may take."""
    return field(default=default, metadata={"least": least, "most": most})


def choice(*words: str) -> Any:
    """A word among a simulation's fields; the first is the default."""
    return field(default=words[0], metadata={"words": words})


@dataclass(frozen=True)
class Parameters(ABC):
    """Base of every simulation; its fields are what an address may set."""

    name: ClassVar[str]
    seed: int = parameter(0, 0, 2**31 - 1)

    @property
    def address(self) -> str:
        """The full address, every parameter written out in the order of the fields."""
        values = (f"{field.name}={written(getattr(self, field.name))}" for field in fields(self))
        return f"{PREFIX}{self.name}?{'&'.join(values)}"

    @abstractmethod
    def simulate(self) -> tuple[Recording, Truth]:
        """The recording and what was planted in it."""

    def recording(
        self, neurons: Neurons, activity: SpikeTimes | Traces, description: str, **others: Any
    ) -> Recording:
        """A recording whose description states that it was simulated, and from which address."""
        return Recording(
            session_id=f"{self.name}-{self.seed}",
            neurons=neurons,
            activity=activity,
            source=Source(uri=self.address, url=self.address),
            session_start_time=START,
            session_description=(
                f"Simulated: {description}; made by nwbdyn from {self.address}. Not measured in "
                "an animal."
            ),
            **others,
        )


def written(value: float | str) -> str:
    """A parameter as an address has it."""
    return value if isinstance(value, str) else f"{value:.12g}"
