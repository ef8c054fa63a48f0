"""Recordings in which a hypothesis of "no coupling" is true, made from the recording itself.

`shift`: each neuron keeps its own course in time, and what it shares with others is destroyed:
neurons are independent, each with its own autocorrelation. `trials`: each neuron keeps its trials
of a condition, in another order: nothing couples neurons beyond what the condition and slow drift
do to all of them. `jitter`: each spike is drawn again within its window of 20 ms (see
`statistics.jitter`): all that is slower remains, common input included. Rejecting one says that a
coupling helps to predict beyond this. It does not say that there is a synapse: unrecorded common
input passes the first two, and fast common input the third.

A value never leaves its split, its gap-free segment or, for `trials`, its neighbouring trials.
Covariates stay where they are. Bins that cannot be moved are marked unusable, so that no coupling
survives in them.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import GAP, SPLITS, Split
from nwbdyn.errors import ConfigError, DataError, nearest

SHIFT, TRIALS, JITTER = "shift", "trials", "jitter"
NEIGHBOURS = 20  # trials among which an order is drawn; slower drift than that stays
CONDITIONS = ("condition", "condition_id", "cond", "trial_type", "stimulus_name", "stimulus_id")


@dataclass(frozen=True)
class Null:
    """A kind of surrogate, and how many of them."""

    kind: str  # "shift", "trials" or "jitter"
    number: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Null":
        """From "shift:20".

        Raises:
            ConfigError: another kind, or no number of 2 or more.
        """
        match = re.fullmatch(rf"({SHIFT}|{TRIALS}|{JITTER}):(\d+)", text.strip())
        if match is None or int(match[2]) < 2:
            kind = text.strip().partition(":")[0]
            meant = nearest(kind, (SHIFT, TRIALS, JITTER), "{}:20")
            raise ConfigError(
                f"No null {text!r}{meant} Give {SHIFT}:K or {TRIALS}:K with K surrogates, 20 or "
                f"more for q values, or {JITTER}:K for spikes."
            )
        return cls(match[1], int(match[2]))


def shift(binned: Binned, split: Split, *, least: int, random: np.random.Generator) -> Binned:
    """Each neuron shifted in a circle by its own draw, within every unbroken stretch of one split.

    Neurons lie at least `least` bins from their own place and, where a stretch is long enough for
    that, from each other's shift, so that no pair keeps its timing.

    Args:
        least: bins; the context of a model, so that nothing it sees stays in place.

    Raises:
        DataError: a split has no stretch of 2 * least bins.
    """
    values, moved = np.array(binned.values), np.zeros(binned.num_bins, dtype=bool)
    for start, stop in _stretches(binned, split):
        length = stop - start
        if length < 2 * least:
            continue
        offset = _offsets(binned.num_neurons, length, least, random)
        source = (np.arange(length)[:, None] - offset) % length  # (length, N)
        values[start:stop] = np.take_along_axis(binned.values[start:stop], source, axis=0)
        moved[start:stop] = True
    for name in SPLITS[:GAP]:
        own = split.bins(name) & binned.valid
        if own.any() and not (own & moved).any():
            raise DataError(
                f"No unbroken stretch of {name} bins is {2 * least} long, twice the context, so "
                "nothing can be shifted in it. Use trials:K where there are trials, a shorter "
                "context, or another split."
            )
    return replace(binned, values=values, valid=binned.valid & moved)


def shift_hypothesis(least: int, bin_width: float) -> str:
    """The null hypothesis of `shift`, in words."""
    return (
        "neurons are independent of one another, each with its own autocorrelation (circular "
        f"shifts by {least} bins, {least * bin_width:.3g} s, or more within each stretch of one "
        "split); says nothing of common input or of synapses"
    )


def shuffle_trials(
    binned: Binned,
    split: Split,
    *,
    starts: np.ndarray,
    stops: np.ndarray,
    condition: np.ndarray | None = None,
    random: np.random.Generator,
) -> Binned:
    """Each neuron's trials in an order of its own, among neighbours of one condition and split.

    Trials are aligned at their starts, and bins beyond the shortest of the neighbours are marked
    unusable, as are bins outside of trials.

    Args:
        starts, stops: (num_trials,) bins, in time order; a trial is [start, stop).
        condition: (num_trials,) values that tell conditions apart; None for one condition.

    Raises:
        DataError: a split has no two trials of one condition.
    """
    values, moved = np.array(binned.values), np.zeros(binned.num_bins, dtype=bool)
    columns = np.arange(binned.num_neurons)
    for trials in _neighbours(binned, split, starts, stops, condition):
        length = int((stops - starts)[trials].min())
        bins = starts[trials][:, None] + np.arange(length)  # (n, length)
        order = random.permuted(np.tile(np.arange(len(trials))[:, None], len(columns)), axis=0)
        source = bins[order].transpose(0, 2, 1)  # (n, length, N): bins of each neuron's own trial
        values[bins] = binned.values[source, columns]
        moved[bins] = True
    for name in SPLITS[:GAP]:
        own = split.bins(name) & binned.valid
        if own.any() and not (own & moved).any():
            raise DataError(
                f"The {name} split has no two whole trials of one condition, so there is nothing "
                "to shuffle. Use shift:K, or a table with more trials."
            )
    return replace(binned, values=values, valid=binned.valid & moved)


def trials_hypothesis(condition: str | None) -> str:
    """The null hypothesis of `shuffle_trials`, in words; `condition` is the column's name."""
    within = "all trials are one condition" if condition is None else f"by {condition}"
    return (
        "no coupling beyond the mean course of a condition and slow drift (each neuron's trials "
        f"shuffled within condition, {within}, among at most {NEIGHBOURS} neighbours); says "
        "nothing of common input that varies from trial to trial, or of synapses"
    )


def condition_column(trials: pd.DataFrame) -> str | None:
    """The column that defines conditions; None if the table has no known one."""
    return next((name for name in CONDITIONS if name in trials), None)


def _stretches(binned: Binned, split: Split) -> Iterator[tuple[int, int]]:
    """(start, stop) of the usable runs of one split inside one segment; gaps belong to none."""
    changes = np.diff(split.labels) != 0
    changes |= np.diff(binned.segment) != 0
    changes |= np.diff(binned.valid)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), binned.num_bins]
    for start, stop in itertools.pairwise(edges):
        if binned.valid[start] and split.labels[start] != GAP:
            yield start, stop


def _offsets(num_neurons: int, length: int, least: int, random: np.random.Generator) -> np.ndarray:
    """(N,) shifts, at least `least` from 0 in either direction, and from each other if they fit."""
    free = length - (num_neurons + 1) * least
    if free < 0:
        return random.integers(least, length - least + 1, num_neurons)
    places = np.sort(random.integers(0, free + 1, num_neurons))
    return random.permutation(places + least * np.arange(1, num_neurons + 1))


def _neighbours(
    binned: Binned,
    split: Split,
    starts: np.ndarray,
    stops: np.ndarray,
    condition: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Positions of trials that follow one another within a split and condition, two or more."""
    kinds = np.zeros(len(starts), int) if condition is None else pd.factorize(condition)[0]
    labels = np.full(len(starts), GAP)
    for k, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        inside = slice(start, stop)
        own = split.labels[inside]
        if 0 <= start < stop <= binned.num_bins and binned.valid[inside].all():
            unbroken = (binned.segment[inside] == binned.segment[start]).all()
            labels[k] = own[0] if unbroken and (own == own[0]).all() else GAP
    for label in range(GAP):
        for kind in np.unique(kinds):
            bins = np.flatnonzero((labels == label) & (kinds == kind))
            if len(bins) < 2:
                continue
            yield from np.array_split(bins, -(-len(bins) // NEIGHBOURS))
