"""The windows of several sessions, for one model: every batch holds windows of one session.

It offers what training asks of `windows.Windows`, so that one loop trains on one session and on
many.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from nwbdyn.data.windows import Windows
from nwbdyn.models.base import Batch, WindowSpec


class PooledWindows:
    """Several sessions' windows, cut alike.

    Args:
        sessions: each with its own key and the global rows of its neurons.
    """

    def __init__(self, sessions: Sequence[Windows]) -> None:
        self.sessions = tuple(sessions)

    @property
    def spec(self) -> WindowSpec:
        return self.sessions[0].spec

    @property
    def device(self) -> torch.device:
        return self.sessions[0].device

    def to(self, device: torch.device | str) -> "PooledWindows":
        """The same windows, with the recordings' tensors on another device."""
        return PooledWindows([windows.to(device) for windows in self.sessions])

    def starts(self, name: str) -> np.ndarray:
        """(num_windows,) first bins on each session's own clock, session after session."""
        return np.concatenate([windows.starts(name) for windows in self.sessions])

    def num_batches(self, name: str, batch_size: int) -> int:
        """Number of batches that `batches` yields."""
        return sum(windows.num_batches(name, batch_size) for windows in self.sessions)

    def batches(
        self, name: str, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """As `Windows.batches`.

        With a generator, sessions take turns; one with more batches than another comes more often,
        evenly over the epoch. Without, session after session.
        """
        parts = [windows.batches(name, batch_size, generator) for windows in self.sessions]
        if generator is None:
            for part in parts:
                yield from part
            return
        for session in self._turns(name, batch_size):
            yield next(parts[session])

    def _turns(self, name: str, batch_size: int) -> np.ndarray:
        """(num_batches,) which session each batch of an epoch is of."""
        numbers = [windows.num_batches(name, batch_size) for windows in self.sessions]
        session = np.repeat(np.arange(len(numbers)), numbers)
        position = np.concatenate([(np.arange(n) + 0.5) / n for n in numbers])
        return session[np.argsort(position, kind="stable")]
