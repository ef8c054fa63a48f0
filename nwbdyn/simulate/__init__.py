"""Recordings with planted, known connectivity and rates: the `sample:` addresses.

`sample("sample:cortex?seed=0&neurons=50&duration=600")` gives a Recording and the Truth behind it.
The same address gives the same arrays, bit by bit. Parameters that are left out take their
defaults, and `normalise` writes all of them out. `nwb_file` writes a sample as a lab's file.
"""

from nwbdyn import cache
from nwbdyn.recording import Recording
from nwbdyn.simulate import address as _address
from nwbdyn.simulate.address import normalise
from nwbdyn.simulate.task_rnn import task_rnn
from nwbdyn.simulate.truth import Truth

__all__ = ["Truth", "normalise", "sample", "task_rnn"]

cache.replace_unwritable()  # before pynwb is imported, which writes there


def sample(address: str) -> tuple[Recording, Truth]:
    """Simulate the recording that a `sample:` address names.

    Raises:
        AddressError: no such sample or parameter, or a value out of range.
    """
    return _address.parse(address).simulate()
