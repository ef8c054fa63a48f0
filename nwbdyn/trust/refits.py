"""The same model trained again, on surrogates and on halves of the data: what `significance` needs.

A surrogate is a recording without coupling (see `surrogates`). A half-sample is a random half of
the training blocks, its complement the other half; scaling stays that of the whole, so that weights
keep their units. Every refit has the options of the fit it is compared with. Each matrix is kept in
the run directory, so that an interrupted run goes on where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from nwbdyn import metrics
from nwbdyn.errors import ConfigError
from nwbdyn.learning import influence, readout
from nwbdyn.learning.ensembles import Member, train_all
from nwbdyn.learning.members import Workplace
from nwbdyn.learning.problem import SESSION, Problem
from nwbdyn.learning.readout import MOST_NEURONS
from nwbdyn.learning.training import Trained, train
from nwbdyn.models.base import CO_SMOOTHING, Model
from nwbdyn.nlb.alignment import first_bins
from nwbdyn.progress import Progress
from nwbdyn.recording import COUNTS
from nwbdyn.runs import run_directory
from nwbdyn.runs.results import Fit
from nwbdyn.scoring import blocks
from nwbdyn.tensors.binning import Binned
from nwbdyn.tensors.windows import Windows
from nwbdyn.trust import artefacts, significance, surrogates
from nwbdyn.trust.significance import INFLUENCE, WEIGHT, Evidence
from nwbdyn.trust.surrogates import SHIFT, TRIALS, Null

HALF_PAIRS = 5  # pairs of complementary halves: ten refits
TOGETHER = 10  # refits that are in memory at a time


def check(problem: Problem, null: Null) -> None:
    """Refuse a null that this problem has no answer to.

    Raises:
        ConfigError: a model whose influence says nothing, trials without a table or that overlap,
            or too many neurons.
    """
    if problem.co_smoothing:
        with torch.random.fork_rng([]):
            model = problem.model_class(problem.config, problem.layout)
        if not model.influences:
            raise ConfigError(
                f"--null: attention maps of {problem.name} are no couplings. What is tested is its "
                "predictive influence, and that has a meaning where it was trained with all inputs "
                "on one side of a bin hidden: add --set causal_mask_ratio=0.2."
            )
    if null.kind == TRIALS:
        if _trials(problem) is None:
            raise ConfigError(
                "--null trials:K shuffles trials, and windows have to stay inside them: name the "
                f"interval table with --trials, or use --null {SHIFT}:{null.number}."
            )
        if problem.aligned is not None:
            starts = np.sort(problem.aligned.starts)
            overlap = int((np.diff(starts) < problem.windows.length).sum())
            if overlap:
                raise ConfigError(
                    f"--null trials:K: {overlap} of {len(starts)} windows reach into the next "
                    f"one, and cannot be exchanged. Use --null {SHIFT}:{null.number}, or align "
                    "to shorter windows with --trials."
                )
    if problem.binned.num_neurons > MOST_NEURONS:
        raise ConfigError(
            f"--null: {problem.binned.num_neurons} neurons have no edge table; the limit is "
            f"{MOST_NEURONS}. Choose neurons with --where."
        )


def count(null: Null, *, states: bool = False) -> int:
    """How many trainings a null takes beside the fit itself.

    Args:
        states: with the simulations for differences between states.
    """
    return null.number + 2 * HALF_PAIRS + (null.number if states else 0)


def with_edge_statistics(
    fitted: Fit,
    problem: Problem,
    trained: Sequence[Trained],
    null: Null,
    place: Workplace,
    *,
    influence_windows: int = influence.NUM_WINDOWS,
) -> Fit:
    """The fit, with what refits say of its edges in `edges` and in metrics["edges"].

    Args:
        influence_windows: test windows that a predictive influence is averaged over, at most.
    """
    evidence = collect(
        problem, trained, null, place, seed=fitted.seed, influence_windows=influence_windows
    )
    neurons = fitted.connectivity.neurons
    flags, told = artefacts.flags(neurons, _left_over(fitted, problem))
    coupling = fitted.metrics.get("coupling")
    edges, summary, withheld = significance.judge(
        fitted.edges,
        neurons.ids,
        evidence,
        coupling=coupling if isinstance(coupling, dict) else None,
        calibrated=problem.model_class.edges_calibrated,
        flags=flags,
    )
    return replace(
        fitted,
        edges=edges,
        connectivity=replace(fitted.connectivity, tested=edges),
        metrics=fitted.metrics | {"edges": summary},
        notes=(*fitted.notes, *told, *withheld),
    )


def collect(
    problem: Problem,
    trained: Sequence[Trained],
    null: Null,
    place: Workplace,
    *,
    seed: int,
    influence_windows: int = influence.NUM_WINDOWS,
) -> Evidence:
    """Train on every surrogate and half-sample.

    Args:
        trained: the models of the recording itself, one per seed.
        seed: of the surrogates, the halves and every refit.
        influence_windows: as for `with_edge_statistics`.
    """
    read = partial(matrix, influence_windows=influence_windows)
    make, hypothesis = _recipe(problem, null)

    def surrogate(numbers: Sequence[int]) -> list[Windows]:
        draws = [np.random.default_rng([seed, number, 0]) for number in numbers]
        return [windows_over(problem, make(draw)) for draw in draws]

    chosen: list[np.ndarray] = []
    for number in range(HALF_PAIRS):
        half = half_of_blocks(problem, np.random.default_rng([seed, number, 1]))
        chosen += [half, ~half]

    def half_sample(numbers: Sequence[int]) -> list[Windows]:
        return [windows_over(problem, problem.binned, targets=chosen[k]) for k in numbers]

    weight = np.mean([read(member.model, problem.windows) for member in trained], axis=0)
    drawn = matrices(problem, "null", surrogate, null.number, seed, place, read=read)
    halves = matrices(problem, "half", half_sample, 2 * HALF_PAIRS, seed, place, read=read)
    return Evidence(
        weight=weight,
        null=drawn,
        halves=halves.reshape(HALF_PAIRS, 2, *weight.shape),
        kind=null.kind,
        hypothesis=hypothesis,
        tested=INFLUENCE if problem.co_smoothing else WEIGHT,
    )


def matrix(
    model: Model, windows: Windows, *, influence_windows: int = influence.NUM_WINDOWS
) -> np.ndarray:
    """(N, N) float64 [post, pre] what is tested, in the model's own units.

    The mean coupling over every window; of a co-smoothing model, whose maps are no couplings, the
    mean predictive influence over at most `influence_windows` test windows.
    """
    if model.target == CO_SMOOTHING:
        return influence.read(model, windows, num_windows=influence_windows).mean
    return readout.connectivity(model, windows).mean().to_numpy().astype(np.float64)


def half_of_blocks(problem: Problem, random: np.random.Generator) -> np.ndarray:
    """(num_bins,) bool, the bins of a random half of the blocks that hold training bins.

    Blocks are trials where there are some, else stretches that are independent of each other (see
    `scoring.blocks`) and long enough for the model's windows.
    """
    binned, context = problem.binned, problem.spec.context
    rows = problem.split.bins("train") & binned.valid
    if problem.trials is not None or problem.aligned is not None:
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


def _recipe(problem: Problem, null: Null) -> tuple[Callable[[np.random.Generator], Binned], str]:
    """What draws one surrogate, and what that makes true."""
    binned, split, least = problem.binned, problem.split, problem.spec.context
    if problem.co_smoothing:
        least = problem.windows.length
    if null.kind == SHIFT:
        words = surrogates.shift_hypothesis(least, binned.bin_width)
        return lambda random: surrogates.shift(binned, split, least=least, random=random), words
    found = _trials(problem)
    assert found is not None  # check
    table, starts, stops = found
    column = surrogates.condition_column(table)
    condition = None if column is None else table[column].to_numpy()
    return (
        lambda random: surrogates.shuffle_trials(
            binned, split, starts=starts, stops=stops, condition=condition, random=random
        ),
        surrogates.trials_hypothesis(column),
    )


def _trials(problem: Problem) -> tuple[pd.DataFrame, np.ndarray, np.ndarray] | None:
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


def windows_over(problem: Problem, binned: Binned, *, targets: np.ndarray | None = None) -> Windows:
    """The problem's windows over other bins; of the training ones those with these targets.

    Windows of a co-smoothing model are targets as a whole: a trial belongs to the targets with its
    first bin, and windows that move about stay among them.
    """
    starts = None if problem.aligned is None else problem.aligned.starts
    if targets is not None and problem.co_smoothing and starts is None:
        left_out = problem.split.bins("train") & ~targets
        binned = replace(binned, valid=binned.valid & ~left_out)
    elif targets is not None:
        kept = problem.windows.starts("train")
        kept = kept[targets[kept if problem.co_smoothing else kept + problem.spec.context]]
        others = [problem.windows.starts(name) for name in ("val", "test")]
        starts = np.concatenate([kept, *others])
    return Windows(
        binned,
        problem.split,
        problem.spec,
        starts=starts,
        session=SESSION,
        device=problem.windows.device,
        target=problem.model_class.target,
    )


def _left_over(fitted: Fit, problem: Problem) -> np.ndarray | None:
    """(n, N) recorded minus predicted in training bins; None where the model saw what it says."""
    if problem.co_smoothing:
        return None  # rates of held-in neurons are reconstructions
    rows = problem.split.bins("train")
    recorded = fitted.predictions.recorded
    assert recorded is not None
    return recorded[rows] - fitted.predictions.values[rows]


def matrices(
    problem: Problem,
    name: str,
    windows_of: Callable[[Sequence[int]], list[Windows]],
    number: int,
    seed: int,
    place: Workplace,
    *,
    read: Callable[[Model, Windows], np.ndarray] = matrix,
) -> np.ndarray:
    """(number, …) what is read from as many refits, or is in the run directory already.

    Args:
        name: of the refits, in the run directory and to who watches.
        windows_of: the windows of refits by their numbers, TOGETHER of them at a time at most.
        seed: of every refit.
        read: from a trained model and its windows; by default their mean matrix.
    """
    folder = place.folder(run_directory.REFITS)
    files = {} if folder is None else {k: folder / f"{name}-{k}.npy" for k in range(number)}

    def kept() -> dict[int, np.ndarray]:
        there = {k: file for k, file in files.items() if place.resume and file.exists()}
        return {k: np.load(file, allow_pickle=False) for k, file in there.items()}

    def refitted(numbers: Sequence[int]) -> dict[int, np.ndarray]:
        windows = windows_of(numbers)
        refits = zip(_models(problem, windows, seed), windows, strict=True)
        return {k: read(*refit) for k, refit in zip(numbers, refits, strict=True)}

    made = place.team.agree(kept)
    left = [k for k in range(number) if k not in made]
    together = TOGETHER * place.team.size
    for chunk in (left[first : first + together] for first in range(0, len(left), together)):
        place.report(Progress(name, len(made), number, "refits"))
        new = place.team.divide(chunk, refitted)
        for k in chunk if files else ():
            with run_directory.replacing(files[k]) as unfinished, unfinished.open("wb") as opened:
                np.save(opened, new[k], allow_pickle=False)
        made |= new
    place.report(Progress(name, number, number, "refits"))
    return np.stack([made[k] for k in range(number)])


def _models(problem: Problem, windows: Sequence[Windows], seed: int) -> list[Model]:
    """The problem's model trained on each of these, together where that is faster."""
    device = problem.windows.device
    if problem.adopted is None:
        members = [Member(problem.config, one, seed) for one in windows]
        trained = train_all(problem.model_class, problem.layout, members, device=device)
    else:
        trained = [
            train(
                problem.model_class,
                problem.config,
                problem.layout,
                one,
                seed=seed,
                device=device,
                adopted=problem.adopted.state,
            )
            for one in windows
        ]
    return [one.model for one in trained]
