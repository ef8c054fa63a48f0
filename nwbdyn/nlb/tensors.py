"""The benchmark's tensors, straight from spike times.

Names, order and values are those of the published data: trials in file order, units by ascending
id within held-in and held-out, counts on the grid of `clock`, NaN where a bin's first millisecond
was not observed. No array is longer than the trials, whatever the recording's length.
"""

import numpy as np
import pandas as pd

from nwbdyn.data.flags import flags
from nwbdyn.errors import DataError
from nwbdyn.nlb.cut import Cut
from nwbdyn.nlb.layouts import Layout, recognise
from nwbdyn.nlb.moments import moments_of
from nwbdyn.nlb.psth import psths
from nwbdyn.recording import Recording


def tensors(
    train: Recording, test: Recording | None = None, *, bin_width: float = 0.005
) -> dict[str, np.ndarray]:
    """Training and evaluation inputs of a model of the benchmark.

    With the test file, the test phase: train and val trials train, and only the held-in units of
    the test trials are known. Without it, the validation phase: train trials train, val trials are
    asked about.

    Returns:
        float32 arrays (num_trials, num_bins, num_units): `train_spikes_heldin`, `…_heldout`,
        `…_heldin_forward`, `…_heldout_forward`, `eval_spikes_heldin`, and in the validation phase
        `eval_spikes_heldout`; with them `train_behavior` (see `targets`).

    Raises:
        DataError: not a recording of the benchmark, no such trials, or other units in the test.
    """
    layout = layout_of(train)
    learned = _trials(train, layout, "train" if test is None else "train val")
    recording = train if test is None else test
    evaluated = _trials(recording, layout, "val" if test is None else "test")
    held_in, held_out = units(train, held_out=False), units(train, held_out=True)
    cut = Cut(layout, bin_width)
    starts, moments = cut.starts(learned), moments_of(train)
    of_held_in = cut.observed_and_forward(train, held_in, starts, moments)
    of_held_out = cut.observed_and_forward(train, held_out, starts, moments)
    arrays = {
        "train_spikes_heldin": of_held_in[0],
        "train_spikes_heldout": of_held_out[0],
        "train_spikes_heldin_forward": of_held_in[1],
        "train_spikes_heldout_forward": of_held_out[1],
        "train_behavior": cut.behaviour(train, learned),
    }
    check_pair(train, recording)
    starts, known = cut.starts(evaluated), units(recording, held_out=False)
    if test is not None:
        moments = moments_of(test)
    arrays["eval_spikes_heldin"] = cut.counts(
        recording, known, starts, cut.observed, moments=moments
    )
    if test is None:
        arrays["eval_spikes_heldout"] = cut.counts(
            train, held_out, starts, cut.observed, moments=moments
        )
    return arrays


def targets(
    recording: Recording,
    *,
    bin_width: float = 0.005,
    learned: str = "train",
    phase: str = "val",
) -> dict[str, np.ndarray]:
    """Targets of predictions for the trials of one split.

    Args:
        learned: splits that a decoder is fitted on, e.g. "train val".
        phase: the split that is predicted, whose held-out neurons are in the recording.

    Returns:
        `eval_spikes_heldout` and the `eval_spikes_…_forward` of both groups (num_trials, num_bins,
        num_units), NaN = not scored (DMFC_RSG: outside Set to Go; forward bins: behind a bin that
        was not observed, or in the next trial, see `bounds`). Where the recording has them,
        `train_behavior` and `eval_behavior`: velocities at the layout's lag (num_trials, num_bins,
        2) in the recording's unit, or DMFC_RSG's trial columns is_eye, theta, is_short, ts, tp, NaN
        for outliers; for Area2_Bump `train_decode_mask` and `eval_decode_mask` (num_trials, 2):
        active, passive. Where the trials have conditions, `psth` and what goes with it (see
        `psth.psths`).

    Raises:
        DataError: as `tensors`.
    """
    layout = layout_of(recording)
    cut = Cut(layout, bin_width)
    train, evaluated = _trials(recording, layout, learned), _trials(recording, layout, phase)
    held_in, held_out = units(recording, held_out=False), units(recording, held_out=True)
    starts, moments = cut.starts(evaluated), moments_of(recording)
    _, later_held_in = cut.observed_and_forward(recording, held_in, starts, moments)
    scored, later_held_out = cut.observed_and_forward(recording, held_out, starts, moments)
    for later in (later_held_in, later_held_out):
        later[~cut.belongs(recording, evaluated, starts, later)] = np.nan
    if layout.jitter:
        scored[~cut.between(evaluated, starts, "set_time", "go_time")] = np.nan
    arrays = {
        "eval_spikes_heldout": scored,
        "eval_spikes_heldin_forward": later_held_in,
        "eval_spikes_heldout_forward": later_held_out,
    }
    if cut.has_behaviour(recording):
        arrays["train_behavior"] = cut.behaviour(recording, train)
        arrays["eval_behavior"] = cut.behaviour(recording, evaluated)
    if layout.name == "area2_bump":
        for name, trials in (("train", train), ("eval", evaluated)):
            passive = trials["ctr_hold_bump"].to_numpy().astype(bool)
            arrays[f"{name}_decode_mask"] = np.stack([~passive, passive], axis=1)
    return arrays | psths(cut, recording, np.concatenate([held_in, held_out]), train, evaluated)


def held_in_counts(
    recording: Recording, names: str, *, bin_width: float = 0.005, layout: Layout | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Held-in counts of the trials of some splits, e.g. "train val", in file order.

    Args:
        layout: how to cut them, where the recording's own columns do not tell (a test file).

    Returns:
        (num_trials, num_bins, num_held_in) float32 counts, NaN where the units were not observed,
        units by ascending id; (num_trials,) first bins, numbered from 0 s.

    Raises:
        DataError: as `tensors`.
    """
    layout = layout or layout_of(recording)
    cut = Cut(layout, bin_width)
    starts = cut.starts(_trials(recording, layout, names))
    known = units(recording, held_out=False)
    return cut.counts(recording, known, starts, cut.observed), starts


def check_pair(train: Recording, test: Recording) -> None:
    """Raise DataError unless the test file has the held-in units of the train file."""
    known = (r.neurons.ids[units(r, held_out=False)] for r in (train, test))
    if not np.array_equal(*known):
        raise DataError(
            f"{test.source.name} has other held-in units than {train.source.name}; "
            "the two must be the files of one session."
        )


def layout_of(recording: Recording) -> Layout:
    layout = recognise(recording)
    if layout is None:
        raise DataError(
            f"{recording.source.name} does not have the layout of a Neural Latents data set: units "
            "with `heldout`, and its trial columns."
        )
    return layout


def _trials(recording: Recording, layout: Layout, names: str) -> pd.DataFrame:
    """Trials of these splits that can be aligned, in file order; a test file may name no split."""
    trials = recording.trials
    if trials is None or layout.align not in trials:
        raise DataError(f"{recording.source.name} has no trials with a column {layout.align!r}.")
    if "split" in trials:
        trials = trials[trials["split"].isin(names.split())]
    elif names != "test":
        trials = trials[:0]
    trials = trials[np.isfinite(trials[layout.align].to_numpy(float))]
    if not len(trials):
        raise DataError(f"{recording.source.name} has no {names} trials with a {layout.align}.")
    return trials


def units(recording: Recording, *, held_out: bool) -> np.ndarray:
    """Rows of the held-out or the held-in units, by ascending id."""
    marked = flags(recording.neurons.table["heldout"])
    assert marked is not None  # as `recognise`
    rows = np.flatnonzero(marked == held_out)
    return rows[np.argsort(recording.neurons.ids[rows], kind="stable")]
