"""Check that memory holds a fit, by rule of thumb and before training."""

import math
from collections.abc import Sequence

from nwbdyn.data import limits
from nwbdyn.errors import DataError
from nwbdyn.fitting import cost
from nwbdyn.fitting.task import FitTask


def check(
    problems: Sequence[FitTask], *, seeds: int = 1, room: limits.Memory | None = None
) -> None:
    """Refuse a fit that this process has no memory for.

    Args:
        problems: one for each recording of the fit.
        seeds: fits with other seeds.
        room: memory that may be taken; by default what the system says.

    Raises:
        DataError: it does not fit; with the neurons, bins or seeds that would.
    """
    room = room or limits.room()
    if room is None:
        return
    co_smoothing = problems[0].co_smoothing
    values = sum(problem.binned.values.size for problem in problems)
    needed = cost.memory(values, co_smoothing=co_smoothing, seeds=seeds)
    loaded = cost.memory(0, co_smoothing=co_smoothing)
    free = room.size + (loaded if room.is_remainder else 0)
    if needed <= free:
        return
    name = problems[0].recording.source.name
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    raise DataError(
        f"A fit of {name}{more} takes about {needed / 1e9:.3g} GB of memory, and {room.source} "
        f"{room.size / 1e9:.3g} GB. {_advice(problems, (free - loaded) / (needed - loaded), seeds)}"
    )


def _advice(problems: Sequence[FitTask], share: float, seeds: int) -> str:
    """Options that make a fit small enough for this share of its memory."""
    binned = max((problem.binned for problem in problems), key=lambda one: one.num_neurons)
    num_neurons = int(share * binned.num_neurons)
    if num_neurons < 2:
        return "Nothing of it would fit here: raise the limit, or fit on a larger machine."
    fewer = " or fewer --seeds" if seeds > 1 else ""
    return (
        f"What would fit: {num_neurons} of its {binned.num_neurons} neurons (--where), "
        f"--bin-width {_rounded_up(binned.bin_width / share):g}{fewer}."
    )


def _rounded_up(value: float) -> float:
    """The next number of two digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit
