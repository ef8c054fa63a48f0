"""Data for refits: surrogates of a task's bins, halves of its training blocks.

A surrogate is a recording without coupling (see `surrogates`). A half-sample is a random half of
the training blocks, its complement the other half; scaling stays that of the whole, so that weights
keep their units.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from nwbdyn import metrics
from nwbdyn.data.binning import Binned
from nwbdyn.data.windows import Windows
from nwbdyn.evaluation import blocks
from nwbdyn.fitting.task import FitTask
from nwbdyn.nlb.alignment import first_bins
from nwbdyn.recording import COUNTS
from nwbdyn.request import FitRequest
from nwbdyn.statistics import surrogates
from nwbdyn.statistics.surrogates import JITTER, SHIFT, Null


def requested(request: FitRequest) -> Null | None:
    """The kind and number of surrogates of a request; None without any, and for jitter.

    Jitter moves spike times and not bins, see `spike_coupling`.

    Raises:
        ConfigError: a null of another form.
    """
    if request.tests.null is None:
        return None
    null = Null.parse(request.tests.null)
    return None if null.kind == JITTER else null


def recipe(problem: FitTask, null: Null) -> tuple[Callable[[np.random.Generator], Binned], str]:
    """A function that draws one surrogate, and the null hypothesis in words."""
    binned, split, least = problem.binned, problem.split, problem.spec.context
    if problem.co_smoothing:
        least = problem.windows.length
    if null.kind == SHIFT:
        words = surrogates.shift_hypothesis(least, binned.bin_width)
        return lambda random: surrogates.shift(binned, split, least=least, random=random), words
    table_of_trials = trials(problem)
    assert table_of_trials is not None  # check
    table, starts, stops = table_of_trials
    column = surrogates.condition_column(table)
    condition = None if column is None else table[column].to_numpy()
    return (
        lambda random: surrogates.shuffle_trials(
            binned, split, starts=starts, stops=stops, condition=condition, random=random
        ),
        surrogates.trials_hypothesis(column),
    )


def trials(problem: FitTask) -> tuple[pd.DataFrame, np.ndarray, np.ndarray] | None:
    """The trials in time order, the first bin of each and the bin after its last."""
    binned = problem.binned
    if problem.aligned is not None:
        order = np.argsort(problem.aligned.starts)
        starts = problem.aligned.starts[order]
        return problem.aligned.trials.iloc[order], starts, starts + problem.windows.length
    if problem.co_smoothing or problem.trials is None or binned.trials is None:
        return None
    table = binned.trials
    starts, stops = (
        first_bins(binned, table[name].to_numpy(float)) for name in ("start_time", "stop_time")
    )
    return table, starts, stops


def half_of_blocks(problem: FitTask, random: np.random.Generator) -> np.ndarray:
    """(num_bins,) bool, the bins of a random half of the blocks that hold training bins.

    Blocks are trials where there are some, else stretches that are independent of each other (see
    `scoring.blocks`) and long enough for the model's windows.
    """
    binned, context = problem.binned, problem.spec.context
    rows = problem.split.bins("train") & binned.valid
    named = problem.trials is not None and binned.trials is not None
    if named or problem.aligned is not None:
        block = blocks.make(binned, problem.split, trials=True, context=context)
    else:
        length = context
        if problem.co_smoothing:
            length = 3 * problem.windows.length  # a window moves about within its block
        if binned.quantity == COUNTS:
            length = max(length, round(blocks.SLOWEST_RATES / binned.bin_width))
        else:
            length = max(length, 2 * blocks.memory(binned.values[rows]))
        block = metrics.time_blocks(binned.num_bins, length)
    names = np.unique(block[rows])
    half = random.permutation(names)[: (len(names) + 1) // 2]
    return np.isin(block, half)


def windows_over(problem: FitTask, binned: Binned, *, targets: np.ndarray | None = None) -> Windows:
    """The problem's windows over other bins; of the training ones those with these targets.

    Windows of a co-smoothing model are targets as a whole: a trial belongs to the targets with its
    first bin, and windows that move about stay among them.
    """
    session = problem.windows.session
    starts = None if problem.aligned is None else problem.aligned.starts
    if targets is not None and problem.co_smoothing and starts is None:
        left_out = problem.split.bins("train") & ~targets
        binned = replace(binned, valid=binned.valid & ~left_out)
    elif targets is not None:
        kept = problem.windows.starts("train")
        kept = kept[targets[kept if problem.co_smoothing else kept + problem.spec.context]]
        others = [problem.windows.starts(name) for name in ("val", "test")]
        starts = np.concatenate([kept, *others])
    windows = Windows(
        binned,
        problem.split,
        problem.spec,
        starts=starts,
        session=session,
        neuron_ids=problem.layout.neuron_ids[session],
        device=problem.windows.device,
        target=problem.model_class.target,
        reach=None if starts is None else problem.windows.reach,
    )
    ladder = problem.windows.ladder
    return windows if ladder is None else windows.with_penalties(ladder)
