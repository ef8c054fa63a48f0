"""Which bins train, choose and test, and which neurons are held out: all decided once, seeded."""

from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "val", "test", "gap")
TRAIN, VAL, TEST, GAP = range(4)


@dataclass(frozen=True)
class Split:
    """One label per bin and one flag per neuron."""

    labels: np.ndarray  # (num_bins,) int8, index into SPLITS
    held_in: np.ndarray  # (num_neurons,) bool; all True for models that predict the next bin
    seed: int
    rule: str  # how it was made, in words: "contiguous 70/15/15", "trials, split column", …

    def bins(self, name: str) -> np.ndarray:
        """(num_bins,) bool, True where the bin belongs to the split called `name`."""
        return self.labels == SPLITS.index(name)
