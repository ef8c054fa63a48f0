"""Which bins train, choose and test, and which neurons are held out: all decided once, seeded."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.errors import ConfigError, DataError
from nwbdyn.recording import COUNTS
from nwbdyn.tensors.binning import Binned
from nwbdyn.tensors.clock import INSTANT
from nwbdyn.tensors.flags import flags

SPLITS = ("train", "val", "test", "gap")
TRAIN, VAL, TEST, GAP = range(4)

SHARES = (0.70, 0.15, 0.15)  # train, val, test
FEWEST_TRIALS = 10  # below, trials are not kept whole: 15 % of them would be one or none
FEWEST_FOLDS = 3  # one each for training, validation and test
MOST_ROUNDS = 4  # times that folds repeat along a recording
FEWEST_HELD_OUT = 5  # neurons that a co-smoothing score needs
LEAST_FILLED = 0.7  # of the places for held-out neurons, when whole channels are held out
LONG_BLOCK = 10  # gaps that a fold's block should hold, else fewer, longer blocks


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


def make(
    binned: Binned,
    *,
    seed: int,
    hold_out: bool,
    gap: int,
    fold: tuple[int, int] | None = None,
    heldout_fraction: float = 0.25,
) -> Split:
    """Label every bin, and choose the neurons that are held out.

    Bins, the first rule that applies:
    1. `fold=(k, K)`: the recording in blocks of equal length, numbered 0 … K-1 again and again;
       blocks k test, blocks k+1 validate, the others train. Each fold has its own k.
    2. The trials' `split` column. Without test trials in it, its val trials are the test and the
       last 15 % of its train trials validate. Bins after a trial, up to the next, are its own.
    3. Ten trials or more that start within the recording: the first 70 %, the next 15 % and the
       last 15 % of them.
    4. The first 70 %, next 15 % and last 15 % of the valid bins.

    Between bins of different splits lie `gap` bins of none, taken from training where it is a
    neighbour, else from validation. A `split` column gets no gap: its trials may interleave,
    and windows leave out what belongs to another split.

    Neurons, if `hold_out`: those of the file's `heldout` column, else a seeded draw of
    `heldout_fraction`, at least one, at most all but one, one from each level of mean activity;
    whole channels, where the neurons' table says which share one.

    Raises:
        ConfigError: fold (k, K) without 0 <= k < K and K >= 3.
        DataError: one neuron and `hold_out`, or too little to split.
    """
    trials = binned.trials
    if fold is not None:
        labels, rule = _folds(binned, fold, gap)
        labels = _open_gaps(labels, gap)
    elif trials is not None and _has_splits(trials):
        labels, rule = _by_column(binned, trials)
    elif trials is not None and len(inside := _recorded(binned, trials)) >= FEWEST_TRIALS:
        labels, rule = _by_trials(binned, inside)
        labels = _open_gaps(labels, gap)
    else:
        labels, rule = _by_time(binned)
        labels = _open_gaps(labels, gap)
    held_in = np.ones(binned.num_neurons, dtype=bool)
    if hold_out:
        held_in, chosen = _hold_in(binned, seed, heldout_fraction)
        rule = f"{rule}; {chosen}"
    return Split(labels=labels, held_in=held_in, seed=seed, rule=rule)


def stated_held_out(table: pd.DataFrame) -> np.ndarray | None:
    """(num_neurons,) bool, the neurons that the file itself holds out; None where it does not.

    Raises:
        DataError: the column `heldout` holds something else than true and false.
    """
    if "heldout" not in table:
        return None
    held_out = flags(table["heldout"])
    if held_out is None:
        different = ", ".join(sorted({repr(value) for value in table["heldout"]})[:5])
        raise DataError(
            f"The units' column 'heldout' holds {different}; true or false is expected. Correct "
            "it, or fit a model of the next bin, such as netformer, which holds out no unit."
        )
    return held_out if held_out.any() and not held_out.all() else None


def _by_time(binned: Binned) -> tuple[np.ndarray, str]:
    valid = np.flatnonzero(binned.valid)
    if len(valid) < 3:
        raise DataError(f"{len(valid)} usable bins cannot be split into train, val and test.")
    labels = np.full(binned.num_bins, TRAIN, dtype=np.int8)
    num_train, num_val = _counts(len(valid))
    labels[valid[num_train] :] = VAL
    labels[valid[num_train + num_val] :] = TEST
    return labels, "contiguous 70/15/15 in time"


def _by_trials(binned: Binned, trials: pd.DataFrame) -> tuple[np.ndarray, str]:
    num_train, num_val = _counts(len(trials))
    of_trial = np.full(len(trials), TRAIN, dtype=np.int8)
    of_trial[num_train:] = VAL
    of_trial[num_train + num_val :] = TEST
    labels = _from_trials(binned, trials, of_trial, before=TRAIN)
    return labels, "contiguous 70/15/15 of whole trials"


def _by_column(binned: Binned, trials: pd.DataFrame) -> tuple[np.ndarray, str]:
    """The file's own splits; what it lacks is taken from the next larger one."""
    names = trials["split"].astype(str).str.lower().replace("validation", "val").to_numpy()
    of_trial = np.full(len(trials), GAP, dtype=np.int8)
    for label in (TRAIN, VAL, TEST):
        of_trial[names == SPLITS[label]] = label
    rule = "whole trials by the file's split column"
    if not (of_trial == TEST).any():
        of_trial[of_trial == VAL] = TEST
        rule += ", its val trials as test"
    if not (of_trial == VAL).any():
        train = np.flatnonzero(of_trial == TRAIN)
        num_val = max(1, round(SHARES[VAL] * len(train)))
        of_trial[train[-num_val:]] = VAL
        rule += ", the last 15 % of its train trials as val"
    if not (of_trial == TRAIN).any():
        raise DataError("The trials' split column leaves no trial to train on.")
    return _from_trials(binned, trials, of_trial, before=GAP), rule


def _folds(binned: Binned, fold: tuple[int, int], gap: int) -> tuple[np.ndarray, str]:
    k, num_folds = fold
    if num_folds < FEWEST_FOLDS or not 0 <= k < num_folds:
        raise ConfigError(
            f"Fold {k} of {num_folds} does not exist: take 0 <= k < K and K >= {FEWEST_FOLDS}."
        )
    valid = np.flatnonzero(binned.valid)
    longest = len(valid) // (num_folds * LONG_BLOCK * gap) if gap else MOST_ROUNDS
    num_blocks = num_folds * min(max(longest, 1), MOST_ROUNDS)
    trials = None if binned.trials is None else _recorded(binned, binned.trials)
    if trials is not None and len(trials) >= max(FEWEST_TRIALS, num_folds):
        num_blocks = min(num_blocks, len(trials) // num_folds * num_folds)
        block = np.arange(len(trials)) * num_blocks // len(trials)
        block = _from_trials(binned, trials, block, before=0)
    else:
        if len(valid) < num_folds:
            raise DataError(f"{len(valid)} usable bins cannot be cut into {num_folds} folds.")
        order = np.searchsorted(valid, np.arange(binned.num_bins), side="right") - 1
        block = np.maximum(order, 0) * num_blocks // len(valid)
    labels = np.full(binned.num_bins, TRAIN, dtype=np.int8)
    labels[block % num_folds == k] = TEST
    labels[block % num_folds == (k + 1) % num_folds] = VAL
    return labels, f"fold {k} of {num_folds}, {num_blocks} interleaved blocks"


def _open_gaps(labels: np.ndarray, gap: int) -> np.ndarray:
    """Labels with `gap` bins of none wherever the split changes."""
    opened = labels.copy()
    for edge in (np.flatnonzero(np.diff(labels)) + 1).tolist():
        before, after = labels[edge - 1], labels[edge]
        if after == TRAIN or (before, after) == (TEST, VAL):
            near = slice(edge, edge + gap)
            opened[near][labels[near] == after] = GAP
        else:
            near = slice(max(edge - gap, 0), edge)
            opened[near][labels[near] == before] = GAP
    return opened


def _hold_in(binned: Binned, seed: int, fraction: float) -> tuple[np.ndarray, str]:
    """(num_neurons,) bool and how the held-out ones were chosen."""
    num_neurons = binned.num_neurons
    if num_neurons < 2:
        raise DataError(
            f"Session {binned.session_id} has {num_neurons} usable neuron; holding one out needs 2."
        )
    table = binned.neurons.table
    stated = stated_held_out(table)
    if stated is not None:
        return ~stated, "held-out neurons of the file"
    num_held_out = int(np.clip(round(fraction * num_neurons), 1, num_neurons - 1))
    by_activity = np.argsort(binned.values[binned.valid].mean(axis=0), kind="stable")
    strata = np.array_split(by_activity, num_held_out)
    held_out, apart = _draw(strata, _channels(table), np.random.default_rng(seed))
    chosen = f"{held_out.sum()} of {num_neurons} neurons held out, from all levels of activity"
    return ~held_out, f"{chosen}{apart}, drawn with seed {seed}"


def _channels(table: pd.DataFrame) -> np.ndarray:
    """(N,) int, the same number = a channel in common; a neuron of no known channel is alone."""
    alone = -1 - np.arange(len(table))
    if "channel" not in table:
        return alone
    channel = pd.to_numeric(table["channel"], errors="coerce").fillna(-1).to_numpy(np.int64)
    return np.where(channel >= 0, channel, alone)


def _draw(
    strata: list[np.ndarray], channel: np.ndarray, draw: np.random.Generator
) -> tuple[np.ndarray, str]:
    """(N,) bool, one neuron of each stratum; and what was done about shared channels, in words.

    A neuron that was sorted from the same channel as another repeats some of its spikes, so whole
    channels are drawn: one from each stratum, then any that fit, up to as many neurons as there are
    strata. Where too many places stay open, single neurons are drawn and channels are shared.
    """
    wanted = len(strata)
    held_out = np.zeros(len(channel), dtype=bool)
    names, group, size = np.unique(channel, return_inverse=True, return_counts=True)
    shared = len(names) < len(channel)
    if shared:
        order = [draw.permutation(strata[k]) for k in draw.permutation(wanted)]
        for candidates in order:
            fitting = candidates[size[group[candidates]] <= wanted - held_out.sum()]
            if len(fitting) and not held_out[candidates].any():
                held_out |= group == group[fitting[0]]
        for neuron in np.concatenate(order):
            if not held_out[neuron] and size[group[neuron]] <= wanted - held_out.sum():
                held_out |= group == group[neuron]
        if held_out.sum() >= max(LEAST_FILLED * wanted, min(FEWEST_HELD_OUT, wanted)):
            return held_out, ", no channel shared with held-in ones"
        held_out[:] = False
    for stratum in strata:
        held_out[draw.choice(stratum)] = True
    return held_out, ", some channels shared with held-in ones" if shared else ""


def _counts(number: int) -> tuple[int, int]:
    """How many of `number` things, in order, train and validate; the rest, at least one, tests."""
    num_val = max(1, round(SHARES[VAL] * number))
    num_test = max(1, round(SHARES[TEST] * number))
    return number - num_val - num_test, num_val


def _recorded(binned: Binned, trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that start before the last valid bin and reach beyond the first one."""
    valid = binned.time[binned.valid]
    if not len(valid):
        return trials
    starts, stops = (trials[name].to_numpy(float) for name in ("start_time", "stop_time"))
    stops = np.where(stops >= starts, stops, starts)  # NaN, or stored backwards
    half = binned.bin_width / 2
    return trials[(starts <= valid[-1] + half) & (stops >= valid[0] - half)]


def _has_splits(trials: pd.DataFrame) -> bool:
    """True when a `split` column tells training from anything else."""
    if "split" not in trials:
        return False
    names = set(trials["split"].astype(str).str.lower())
    return "train" in names and bool(names & {"val", "validation", "test"})


def _from_trials(
    binned: Binned, trials: pd.DataFrame, of_trial: np.ndarray, *, before: int
) -> np.ndarray:
    """(num_bins,) the value of the last trial that began; `before` ahead of the first one."""
    begin = binned.time if binned.quantity != COUNTS else binned.time - binned.bin_width / 2
    starts = trials["start_time"].to_numpy(float)
    last = np.searchsorted(starts, begin + INSTANT, side="right") - 1
    return np.where(last < 0, before, of_trial[np.maximum(last, 0)]).astype(of_trial.dtype)
