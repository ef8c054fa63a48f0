"""A recording as tensors for a model of your own: binned, aligned to trials, split, normalised.

This is the half of nwbdyn that comes before its models. It streams: an address is opened, the
arrays that are needed travel, and the file is closed again.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwbdyn import opening
from nwbdyn.data import binning, splits
from nwbdyn.data.binning import Binned
from nwbdyn.data.normalisation import mean_and_sd
from nwbdyn.data.splits import SPLITS, Split
from nwbdyn.data.trials import with_trials
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.progress import Report, silent
from nwbdyn.recording import COUNTS, Note, Recording, SpikeTimes

if TYPE_CHECKING:
    import torch.utils.data
    import xarray

SPIKE_BIN_WIDTH = 0.02  # seconds, of spike counts where no width is given


@dataclass(frozen=True)
class Tensors:
    """A binned, split recording. T bins, N neurons, K covariates."""

    binned: Binned
    split: Split
    notes: tuple[Note, ...]  # what was skipped, changed or odd on the way

    @property
    def values(self) -> np.ndarray:
        """(T, N) float32: spike counts per bin, or traces in the file's unit; NaN as stored."""
        return self.binned.values

    @property
    def time(self) -> np.ndarray:
        """(T,) float64: bin centres in seconds on the session clock."""
        return self.binned.time

    @property
    def covariates(self) -> np.ndarray:
        """(T, K) float32 in the file's units; NaN if the latest sample is too old."""
        return self.binned.covariates

    @property
    def valid(self) -> np.ndarray:
        """(T,) bool: bins in which the neurons were observed, and that lie inside a trial."""
        return self.binned.valid

    def to_numpy(self) -> dict[str, np.ndarray]:
        """The arrays by name.

        Returns:
            "values" (T, N), "time" (T,), "valid" (T,), "covariates" (T, K), "segment" (T,) int,
            equal where no gap lies between two bins, "split" (T,) int8, an index into
            ("train", "val", "test", "gap"), "neuron" (N,) ids, and "mean", "sd" (N,) of the values
            in valid training bins.
        """
        mean, sd = self.normalisation()
        return {
            "values": self.values,
            "time": self.time,
            "valid": self.valid,
            "covariates": self.covariates,
            "segment": self.binned.segment,
            "split": self.split.labels,
            "neuron": np.asarray(self.binned.neurons.ids),
            "mean": mean,
            "sd": sd,
        }

    def to_xarray(self) -> "xarray.Dataset":
        """A Dataset with dims (time, neuron, covariate) and what is known of each neuron.

        Data variables are "activity" and "covariates"; coordinates of time are "split", "valid" and
        "segment". Attributes: "bin_width" in seconds, "quantity", "session_id", "split_rule".
        """
        import xarray

        neurons = self.binned.neurons
        coordinates: dict[str, Any] = {
            "time": ("time", self.time, {"units": "s"}),
            "neuron": ("neuron", np.asarray(neurons.ids)),
            "covariate": ("covariate", list(self.binned.covariate_names)),
            "split": ("time", np.array(SPLITS)[self.split.labels]),
            "valid": ("time", self.valid),
            "segment": ("time", self.binned.segment),
        }
        for name in ("cell_type", "location"):
            if name in neurons.table:
                column = neurons.table[name].fillna("").to_numpy(dtype=object)
                coordinates[name] = ("neuron", column)
        return xarray.Dataset(
            {
                "activity": (("time", "neuron"), self.values),
                "covariates": (("time", "covariate"), self.covariates),
            },
            coords=coordinates,
            attrs={
                "bin_width": self.binned.bin_width,
                "quantity": self.binned.quantity,
                "session_id": self.binned.session_id,
                "split_rule": self.split.rule,
            },
        )

    def to_torch(
        self, context: int, *, split: str = "train", normalise: bool | None = None
    ) -> "torch.utils.data.Dataset":
        """Windows of one split as a map-style torch Dataset, for a `DataLoader`.

        An item is a dict: "activity" (context, N), the input; "target" (N,), the bin after it,
        z-scored for traces and as counts for spikes;
        "covariates" (context, K), z-scored; "valid" (N,) bool, the targets to count in a loss;
        "start_bin", the first bin of the input on the session clock. A window belongs to the split
        of its target, never crosses a gap, an unobserved bin or a bin of another split, and holds
        0 where the file has NaN.

        Args:
            context: number of input bins.
            split: "train", "val" or "test".
            normalise: z-score the activity with mean and deviation of the training bins. Default:
                traces are z-scored, counts are not.

        Raises:
            ConfigError: no such split, or a context below 1.
            DataError: no window fits into the split.
        """
        from nwbdyn.data.torch_dataset import WindowDataset

        if split not in SPLITS[: splits.GAP]:
            raise ConfigError(f"No split named {split!r}. Choose from: train, val, test.")
        if context < 1:
            raise ConfigError(f"context is {context}; a window takes at least 1 bin.")
        if normalise is None:
            normalise = self.binned.quantity != COUNTS
        return WindowDataset(self.binned, self.split, context, split, normalise=normalise)

    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) mean and standard deviation of each neuron over the valid training bins."""
        rows = self.split.bins("train") & self.valid
        return mean_and_sd(self.values, rows)


def tensors(
    recording: Recording | str,
    *,
    bin_width: float | None = None,
    trials: str | None = None,
    covariates: Sequence[str] = (),
    gap: int = 20,
    fold: tuple[int, int] | None = None,
    seed: int = 0,
    report: Report = silent,
    **reading: Any,
) -> Tensors:
    """Bin, align and split a recording.

    Args:
        recording: a recording, or an address that `nwbdyn.open` takes.
        bin_width: seconds. Default: traces keep their frames; spikes take 20 ms.
        trials: the interval table whose rows are the trials, or windows around the times in one of
            its columns: "TABLE.COLUMN[BEGIN,END]". Bins outside every trial are not valid, and the
            split keeps trials whole.
        covariates: names of behavioural signals, and events as "TABLE[.TIMES][:KINDS]".
        gap: bins that are left out between two splits; at least the context of your model.
        fold: (k, K): test on every K-th block, from the k-th on, instead of on the last 15 %.
        seed: of the split.
        report: called with the number of bytes that have arrived.
        **reading: as `nwbdyn.open` takes them with an address: where, quantity, plane, …

    Raises:
        ConfigError, DataError: the recording has no such table, signal or bins.
        AddressError, ArchiveError, StreamError, ReadError: the address cannot be opened.
    """
    with ExitStack() as files:
        if isinstance(recording, str):
            recording = files.enter_context(opening.open(recording, report=report, **reading))
        elif reading:
            raise ConfigError(
                f"{next(iter(reading))} says what to read from an address. Pass it to nwbdyn.open."
            )
        if bin_width is None and isinstance(recording.activity, SpikeTimes):
            bin_width = SPIKE_BIN_WIDTH
        if trials is not None:
            recording = with_trials(recording, trials)
        binned = binning.bin_recording(recording, bin_width=bin_width, covariates=covariates)
        if trials is not None:
            binned = binning.inside_trials(binned)
        if not binned.valid.any():
            raise DataError(f"{recording.source.name} has no usable bin; see `nwbdyn inspect`.")
        split = splits.make(binned, seed=seed, hold_out=False, gap=gap, fold=fold)
        return Tensors(binned, split, (*recording.notes, *binned.notes))
