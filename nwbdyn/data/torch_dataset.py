"""Windows of a binned recording as a torch Dataset, for training loops of one's own."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import Split
from nwbdyn.data.windows import Windows
from nwbdyn.models.base import NEXT, WindowSpec
from nwbdyn.recording import COUNTS


class WindowDataset(Dataset):
    """Map-style dataset of next-bin windows; see `nwbdyn.Tensors.to_torch` for an item's keys."""

    def __init__(
        self, binned: Binned, split: Split, context: int, name: str, *, normalise: bool
    ) -> None:
        plain = "counts" if binned.quantity == COUNTS else "raw"
        inputs = "zscore" if normalise else plain
        self._windows = Windows(binned, split, WindowSpec(context, inputs=inputs), target=NEXT)
        self._name = name
        self._starts = torch.as_tensor(self._windows.starts(name))
        self.mean = torch.as_tensor(self._windows.mean)  # (N,) of the training bins
        self.sd = torch.as_tensor(self._windows.sd)  # (N,)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        batch = self._windows.gather(self._starts[index][None], self._name)
        return {
            "activity": batch.activity[0],
            "target": batch.target[0, 0],
            "covariates": batch.covariates[0],
            "valid": batch.valid[0, 0],
            "start_bin": batch.start_bin[0],
        }
