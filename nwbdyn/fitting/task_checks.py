"""Refusals of a recording that a model cannot be fitted to, before anything is trained."""

import numpy as np

from nwbdyn import models
from nwbdyn.data import trial_clock
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import FEWEST_HELD_OUT, Split
from nwbdyn.data.trials import NONE
from nwbdyn.errors import DataError
from nwbdyn.models.base import BaseConfig, Model
from nwbdyn.recording import COUNTS, Recording, SpikeTimes


def refuse_trials(recording: Recording, name: str, binned: Binned) -> None:
    """Raise DataError: these trials were named, and cannot divide the recording."""
    notes = (*recording.notes, *binned.notes)
    reason = trial_clock.unusable(recording.trials, binned.time[0], binned.time[-1])
    reasons = [reason] if reason else [n.reason for n in notes if n.code == trial_clock.UNUSABLE]
    raise DataError(
        f"{recording.source.name}: --trials {name}: {reasons[0].rstrip('.')}. Name another table, "
        f"or pass --trials {NONE} to split the recording in time."
    )


def check_quantity(recording: Recording, name: str, model_class: type[Model]) -> None:
    spikes = isinstance(recording.activity, SpikeTimes)
    quantity = COUNTS if isinstance(recording.activity, SpikeTimes) else recording.activity.quantity
    if quantity in model_class.quantities:
        return
    able = [n for n in models.names() if quantity in models.load(n).quantities]
    held = "spike times" if spikes else f"{quantity} traces"
    raise DataError(
        f"{name} takes {', '.join(sorted(model_class.quantities))}; {recording.source.name} holds "
        f"{held}. Models for these: {', '.join(able) or 'none'}."
    )


def check_held_out(recording: Recording, held_in: np.ndarray) -> None:
    """Refuse a score of a handful of neurons, which depends more on these than on the model."""
    num_in, num_out = int(held_in.sum()), int((~held_in).sum())
    if num_out >= FEWEST_HELD_OUT and num_in >= FEWEST_HELD_OUT:
        return
    raise DataError(
        f"{recording.source.name} has {len(held_in)} usable units, {num_out} of them held out; "
        f"co-smoothing needs {FEWEST_HELD_OUT} held-out and {FEWEST_HELD_OUT} held-in ones. Mark "
        "them in the units' `heldout` column, record more units, or fit a model of the next bin, "
        "such as netformer."
    )


def check_num_neurons(recording: Recording, binned: Binned) -> None:
    """Refuse fewer than two usable neurons."""
    if binned.num_neurons < 2:
        raise DataError(
            f"{recording.source.name} has {binned.num_neurons} usable neuron of "
            f"{len(recording.neurons)}; a coupling needs two. `nwbdyn inspect` says what was "
            "left out, and why."
        )


def check_training_bins(
    recording: Recording, binned: Binned, split: Split, config: BaseConfig, context: int
) -> None:
    """Refuse a recording of which no bin is left to train on."""
    if not (split.bins("train") & binned.valid).any():
        in_time = "" if binned.trials is None else "--trials none to split in time, "
        raise DataError(
            f"{recording.source.name} has {int(binned.valid.sum())} usable bins of "
            f"{binned.bin_width:g} s, and the split ({split.rule}) leaves none to train on with a "
            f"context of {context}. Pass {in_time}a smaller --bin-width or, for a shorter context, "
            f"--set {_context_field(config)}=BINS."
        )


def _context_field(config: BaseConfig) -> str:
    """The option that sets the number of bins in a window."""
    return "history" if hasattr(config, "history") else "context"
