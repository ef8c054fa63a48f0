"""Binned + Split -> torch batches, and predictions stitched back on the session clock.

The recording stays where it is; a batch gathers its windows from it. Everything that is fitted to
the data (means, deviations, the largest count) comes from training bins alone, and no window
crosses a gap, an unobserved bin, or a bin of another split.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from nwbdyn.data.binning import Binned
from nwbdyn.data.normalisation import mean_and_sd
from nwbdyn.data.splits import GAP, SPLITS, Split
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.models.base import CO_SMOOTHING, NEXT, Batch, WindowSpec
from nwbdyn.recording import COUNTS, Note

INPUTS = ("zscore", "raw", "counts", "exponential")


class Windows:
    """The windows of one session.

    NEXT: `context` bins, and the bin after them as target. A window belongs to its target's split;
    its context may reach into the gap before it, never into another split.

    CO_SMOOTHING: `context` + `forward` bins, target and input at once, the forward bins unseen.
    With `starts` the windows are trials: they belong to the split of their observed bins, and only
    bins of that split count as targets. Without, evaluation windows follow one another at a stride
    of `context` and the last of each stretch is right-aligned; in training each moves to a random
    place nearby, every epoch.

    Args:
        starts: first bins of the windows, to use these and no others (see `nlb.align`).
        reach: (num_bins,) how many bins belong to the trial of a window that begins here; a window
            holds nothing behind them. By default all.
        session: key under which the model knows this session.
        neuron_ids: global row of each neuron; by default 0 … N - 1.
        device: where the recording's tensors live.
        target: NEXT or CO_SMOOTHING; by default the latter where the inputs are raw counts.

    Raises:
        ConfigError: unknown inputs, or counts asked of traces.
        DataError: no training bin.
    """

    core: Mapping[str, Tensor] = MappingProxyType({})  # state of a closed-form core: `with_core`
    lower: Tensor | None = None  # (num_bins, N) its prediction of each bin
    ladder: Any = None  # `baselines.ladder.Ladder` of the core, or the one that it will be like

    def __init__(
        self,
        binned: Binned,
        split: Split,
        spec: WindowSpec,
        *,
        starts: np.ndarray | None = None,
        session: str = "0",
        neuron_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        target: str | None = None,
        reach: np.ndarray | None = None,
    ) -> None:
        if spec.inputs not in INPUTS:
            raise ConfigError(
                f"No window inputs named {spec.inputs!r}. Choose from: {', '.join(INPUTS)}."
            )
        if spec.inputs == "raw" and binned.quantity == COUNTS:
            raise ConfigError("Inputs 'raw' are for traces; this is counts.")
        if spec.inputs not in ("zscore", "raw") and binned.quantity != COUNTS:
            raise ConfigError(
                f"Inputs {spec.inputs!r} are for spike counts; this is {binned.quantity}."
            )
        self.binned, self.split, self.spec, self.session = binned, split, spec, session
        self.target = target or (CO_SMOOTHING if spec.inputs == "counts" else NEXT)
        self.device = torch.device(device)
        self.notes: tuple[Note, ...] = ()
        self._train = split.bins("train") & binned.valid
        if not self._train.any():
            raise DataError(f"Session {binned.session_id} has no usable training bin.")
        ids = np.arange(binned.num_neurons) if neuron_ids is None else np.asarray(neuron_ids)
        self._neuron_ids = torch.as_tensor(ids, dtype=torch.long, device=self.device)
        self._held_in = torch.as_tensor(split.held_in, device=self.device)
        self.mean, self.sd = mean_and_sd(binned.values, self._train)
        if spec.inputs == "raw":
            self.mean, self.sd = np.zeros_like(self.mean), np.ones_like(self.sd)
        self.largest = float(binned.values.max(where=self._train[:, None], initial=-np.inf))
        self._values = torch.as_tensor(binned.values, device=self.device)
        self._inputs = self._values
        if spec.inputs == "exponential":
            smooth = _exponential(binned, split.labels, spec.time_constant)
            self._inputs = torch.as_tensor(smooth, device=self.device)
        self._mean = torch.as_tensor(self.mean, device=self.device)
        self._sd = torch.as_tensor(self.sd, device=self.device)
        self.covariate_scaling = mean_and_sd(binned.covariates, self._train)
        covariates = _standardised(binned.covariates, self.covariate_scaling)
        self._covariates = torch.as_tensor(covariates, device=self.device)
        self._labels = torch.as_tensor(split.labels, device=self.device)
        self._valid = torch.as_tensor(binned.valid, device=self.device)
        self.reach = self._reach(starts, reach)
        self._until = torch.as_tensor(self.reach, device=self.device)
        self._usable = {name: self._usable_starts(name, starts) for name in SPLITS[:GAP]}
        self._evaluated = {name: self._evaluation_starts(name, starts) for name in SPLITS[:GAP]}
        if starts is not None:
            self.notes = (*self._note_unused(np.asarray(starts)), *self._note_forward())

    def to(self, device: torch.device | str) -> "Windows":
        """The same windows, with the recording's tensors on another device."""
        moved = copy(self)
        moved.device = torch.device(device)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def with_core(self, lower: Tensor, state: Mapping[str, Tensor], ladder: object) -> "Windows":
        """The same windows with the state of a closed-form core and its prediction of every bin.

        Args:
            lower: (num_bins, N) in target units, or log rates; what a model is trained on top of.
            ladder: that the core is made of.
        """
        other = copy(self)
        other.core, other.lower, other.ladder = dict(state), lower.to(self.device), ladder
        return other

    def with_penalties(self, ladder: object) -> "Windows":
        """The same windows; the core that will be fitted takes the penalties of a ladder."""
        other = copy(self)
        other.core, other.lower, other.ladder = {}, None, ladder
        return other

    @property
    def length(self) -> int:
        """Bins from the first of a window to its last target."""
        return self.spec.context + (1 if self.target == NEXT else self.spec.forward)

    @property
    def inputs(self) -> np.ndarray:
        """(num_bins, N) float32, the activity as the windows of a NEXT model hold it."""
        return self._scaled(self._inputs).nan_to_num_(0.0).cpu().numpy()

    def starts(self, name: str) -> np.ndarray:
        """(num_windows,) int64, first bins of the windows of a split, in evaluation order.

        Raises:
            DataError: the split has no window.
        """
        starts = self._evaluated[name]
        if not len(starts):
            raise DataError(self._nothing_fits(name))
        return starts

    def num_batches(self, name: str, batch_size: int) -> int:
        """Number of batches that `batches` yields."""
        return -(-len(self.starts(name)) // batch_size)

    def batches(
        self, name: str, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """The windows of one split, `batch_size` at a time.

        With a generator, one epoch of training: shuffled, co-smoothing windows of continuous
        recordings at random offsets, as many batches every time. Without, in evaluation order.
        """
        starts = self.ordered(name, generator)
        for chunk in torch.split(starts, batch_size):
            yield self.gather(chunk, name, generator)

    def ordered(self, name: str, generator: torch.Generator | None = None) -> Tensor:
        """(num_windows,) first bins of one pass over a split, in the order of `batches`."""
        starts = torch.as_tensor(self.starts(name))
        if generator is not None:
            if self.target == CO_SMOOTHING:
                starts = self._moved(starts, self._usable[name], generator)
            order = torch.randperm(len(starts), generator=generator, device=generator.device)
            starts = starts[order.cpu()]
        return starts

    def gather(self, starts: Tensor, name: str, generator: torch.Generator | None = None) -> Batch:
        """The windows of a split that begin at `starts`.

        Several batches are gathered in one go: starts of shape (K, B) put an axis of K in front of
        every tensor of the batch that has one of B.
        """
        return self._batch(starts.to(self.device), SPLITS.index(name), generator)

    def to_session_clock(self, starts: np.ndarray, predictions: np.ndarray | Tensor) -> np.ndarray:
        """Predictions of windows on the session clock, in source units.

        Args:
            starts: (num_windows,) first bins, as in `Batch.start_bin`.
            predictions: (num_windows, S, N) in target units, as in `Output.prediction`.

        Returns:
            (num_bins, N) float32, NaN where no window predicts. A bin in several windows takes the
            one that observed it, of those the one in which it lies farthest from an edge. A trial's
            window says nothing of bins that belong to another split or were not observed.
        """
        if isinstance(predictions, Tensor):
            predictions = predictions.detach().cpu().numpy()
        if self.binned.quantity != COUNTS:
            predictions = predictions * self.sd + self.mean
        stitched = np.full(self.binned.values.shape, np.nan, dtype=np.float32)
        window, offset = self.window_of_bin(starts).T
        reached = window >= 0
        stitched[reached] = predictions[window[reached], offset[reached]]
        return stitched

    def window_of_bin(self, starts: np.ndarray) -> np.ndarray:
        """(num_bins, 2) int: the window that predicts each bin and the bin's position in it, or -1.

        Args:
            starts: (num_windows,) first bins; which window speaks is told at `stitch`.
        """
        starts = np.asarray(starts)
        owners = np.full((self.binned.num_bins, 2), -1, dtype=np.int64)
        number = np.arange(len(starts))
        if self.target == NEXT:
            owners[starts + self.spec.context, 0] = number
            owners[starts + self.spec.context, 1] = 0
            return owners
        own = self._own_labels(starts)
        places = np.arange(self.length)
        from_edge = np.minimum(places, self.spec.context - 1 - places)  # < 0: after the observed
        for position in np.argsort(from_edge, kind="stable"):
            bins = starts + position
            labels = self.split.labels[bins]
            written = self.binned.valid[bins] & ((labels == own) | (labels == GAP))
            written &= position < self.reach[starts]
            owners[bins[written], 0] = number[written]
            owners[bins[written], 1] = position
        return owners

    def _batch(self, starts: Tensor, label: int, generator: torch.Generator | None) -> Batch:
        observed, num_neurons = self.spec.context, self.binned.num_neurons
        span = torch.arange(self.length, device=self.device)
        bins = starts[..., None] + span  # (…, B, context + 1) or (…, B, context + forward)
        if self.target == NEXT:
            seen, aimed = bins[..., :observed], bins[..., observed:]
            activity = self._scaled(self._inputs[seen])
            covariates = self._covariates[seen]
        else:
            aimed = bins
            activity, covariates = self._scaled(self._inputs[bins]), self._covariates[bins]
            activity[..., observed:, :] = covariates[..., observed:, :] = 0
            behind = span >= self._until[starts][..., None]  # (…, B, context + forward)
            activity.masked_fill_(behind[..., None], 0)
            covariates.masked_fill_(behind[..., None], 0)
            activity.masked_fill_(~self._held_in, 0)
        target = self._values[aimed]
        if self.binned.quantity != COUNTS:
            target = (target - self._mean) / self._sd
        valid = self._valid[aimed] & (self._labels[aimed] == label)
        if self.target != NEXT:
            valid &= ~behind
        return Batch(
            activity=activity.nan_to_num_(0.0),
            target=target.masked_fill_(~valid[..., None], 0.0),
            valid=valid[..., None].expand(*valid.shape, num_neurons),
            held_in=self._held_in,
            neuron_ids=self._neuron_ids,
            covariates=covariates,
            start_bin=starts,
            session=self.session,
            generator=generator,
            lower=None if self.lower is None else self.lower[aimed],
        )

    def _scaled(self, values: Tensor) -> Tensor:
        """Model inputs."""
        if self.spec.inputs == "zscore":
            return (values - self._mean) / self._sd
        if self.spec.inputs == "counts":
            return values.clamp(max=self.largest)
        return values

    def _reach(self, starts: np.ndarray | None, reach: np.ndarray | None) -> np.ndarray:
        """(num_bins,) int64, how many bins of a window that begins here may hold anything."""
        binned = self.binned
        if self.target == NEXT or starts is None:
            return np.full(binned.num_bins, self.length)
        number = np.arange(binned.num_bins)
        breaks = np.flatnonzero(~binned.valid | (np.diff(binned.segment, prepend=-1) != 0))
        ends = np.append(breaks, binned.num_bins)
        unbroken = (
            ends[np.searchsorted(ends, number, side="right").clip(max=len(ends) - 1)] - number
        )
        return unbroken if reach is None else np.minimum(unbroken, reach)

    def _usable_starts(self, name: str, starts: np.ndarray | None) -> np.ndarray:
        """Every bin at which a window of this split may begin, among `starts` if given."""
        label, context = SPLITS.index(name), self.spec.context
        labels, valid = self.split.labels, self.binned.valid
        if self.target == NEXT:
            foreign = (labels != label) & (labels != GAP)
            fits = _unbroken(~foreign & valid, self.binned.segment, self.length)
            candidates = np.flatnonzero(fits)
            candidates = candidates[labels[candidates + context] == label]
        elif starts is None:
            candidates = np.flatnonzero(
                _unbroken((labels == label) & valid, self.binned.segment, self.length)
            )
        else:
            inside = np.asarray(starts)
            inside = inside[(inside >= 0) & (inside + self.length <= self.binned.num_bins)]
            whole = _unbroken(valid, self.binned.segment, context)
            return inside[whole[inside] & (self._own_labels(inside) == label)]
        return candidates if starts is None else candidates[np.isin(candidates, starts)]

    def _evaluation_starts(self, name: str, starts: np.ndarray | None) -> np.ndarray:
        usable = self._usable[name]
        if self.target == NEXT or starts is not None or not len(usable):
            return usable
        stretches = np.split(usable, np.flatnonzero(np.diff(usable) > 1) + 1)
        tiled = []
        for stretch in stretches:
            regular = np.arange(stretch[0], stretch[-1] + 1, self.spec.context)
            tiled.append(regular if regular[-1] == stretch[-1] else [*regular, stretch[-1]])
        return np.concatenate(tiled).astype(np.int64)

    def _moved(self, starts: Tensor, usable: np.ndarray, generator: torch.Generator) -> Tensor:
        """Each start moved by up to half a window, to the nearest place where one may begin."""
        if len(usable) == len(starts):
            return starts
        context = self.spec.context
        moves = torch.randint(
            -(context // 2),
            (context + 1) // 2,
            (len(starts),),
            generator=generator,
            device=generator.device,
        )
        wanted = (starts + moves.cpu()).numpy()
        after = np.searchsorted(usable, wanted).clip(0, len(usable) - 1)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(usable[before] - wanted) < np.abs(usable[after] - wanted)
        return torch.as_tensor(np.where(nearer, usable[before], usable[after]))

    def _own_labels(self, starts: np.ndarray) -> np.ndarray:
        """(num_windows,) the split of each window's observed bins; GAP where they have several."""
        if not len(starts):
            return np.zeros(0, dtype=np.int8)
        labels = sliding_window_view(self.split.labels, self.spec.context)[starts]
        lowest = labels.min(axis=1)  # GAP is the highest
        mixed = ((labels != lowest[:, None]) & (labels != GAP)).any(axis=1)
        return np.where(mixed, GAP, lowest)

    def _note_unused(self, starts: np.ndarray) -> tuple[Note, ...]:
        used = np.concatenate(list(self._usable.values()))
        unused = int((~np.isin(starts, used)).sum())
        if not unused:
            return ()
        reason = f"{unused} windows reach into two splits, a gap, or bins that were not observed"
        return (Note("windows-unused", "trials", reason),)

    def _note_forward(self) -> tuple[Note, ...]:
        """Notes on forward bins that are lost; empty if none are requested."""
        if self.target == NEXT or not self.spec.forward:
            return ()
        reach = self.reach[np.concatenate(list(self._usable.values()))] - self.spec.context
        short = int((reach < self.spec.forward).sum())
        if not short:
            return ()
        none = int((reach <= 0).sum())
        reason = (
            f"{short} of {len(reach)} windows have forward bins that were not observed or belong "
            f"to the next trial, {none} have no other; these are neither trained on nor scored"
        )
        return (Note("forward-bins", "trials", reason, important=none == len(reach)),)

    def _nothing_fits(self, name: str) -> str:
        own = self.split.bins(name) & self.binned.valid
        edges = np.diff(np.concatenate([[0], own.astype(np.int8), [0]]))
        lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        longest = int(lengths.max(initial=0))
        return (
            f"No window of {self.length} bins fits into the {name} split of session "
            f"{self.binned.session_id}: {int(own.sum())} usable bins of {self.binned.bin_width:g} "
            f"s, the longest stretch {longest}. Pass a shorter context, a smaller --bin-width, or "
            "--folds."
        )


def _unbroken(good: np.ndarray, segment: np.ndarray, length: int) -> np.ndarray:
    """(num_bins,) bool, True where `length` good bins of one segment begin."""
    begins = np.zeros(len(good), dtype=bool)
    last = len(good) - length
    if last < 0:
        return begins
    total = np.concatenate([[0], np.cumsum(good)])
    all_good = total[length:] - total[:-length] == length
    begins[: last + 1] = all_good & (segment[length - 1 :] == segment[: last + 1])
    return begins


def _standardised(covariates: np.ndarray, scaling: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(num_bins, K) float32, z-scored with training bins; a bin without a sample is 0, the mean."""
    if not covariates.shape[1]:
        return covariates
    mean, sd = scaling
    return np.nan_to_num((covariates - mean) / sd)


def _exponential(binned: Binned, labels: np.ndarray, time_constant: float) -> np.ndarray:
    """(num_bins, N) float32: counts through a causal exponential of unit sum.

    The filter starts anew at a gap in the recording and where another split ends, so that no split
    sees another's spikes; bins between splits belong to the later one.
    """
    decay = float(np.exp(-binned.bin_width / time_constant))
    later = labels.copy()
    follows = np.flatnonzero(labels != GAP)
    if len(follows):
        following = np.searchsorted(follows, np.arange(len(labels))).clip(max=len(follows) - 1)
        later = labels[follows[following]]
    changes = (np.diff(later) != 0) | (np.diff(binned.segment) != 0)
    anew = np.concatenate([[True], changes])
    smooth = np.empty_like(binned.values)
    state = np.zeros(binned.num_neurons)
    for k, counts in enumerate(binned.values):
        state = (1 - decay) * counts + (0 if anew[k] else decay * state)
        smooth[k] = state
    return smooth
