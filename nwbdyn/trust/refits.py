"""The same model trained again, on surrogates and on halves of the data: what `significance` needs.

A surrogate is a recording without coupling (see `surrogates`). A half-sample is a random half of
the training blocks, its complement the other half; scaling stays that of the whole, so that weights
keep their units. Every refit has the options of the fit it is compared with. Each matrix is kept in
the run directory, so that an interrupted run goes on where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from nwbdyn import metrics
from nwbdyn.errors import ConfigError
from nwbdyn.learning import readout
from nwbdyn.learning.ensembles import Member, train_all
from nwbdyn.learning.members import Workplace
from nwbdyn.learning.problem import SESSION, Problem
from nwbdyn.learning.readout import MOST_NEURONS
from nwbdyn.learning.training import Trained, train
from nwbdyn.models.base import Model
from nwbdyn.nlb.alignment import first_bins
from nwbdyn.progress import Progress
from nwbdyn.runs import run_directory
from nwbdyn.runs.results import Fit
from nwbdyn.scoring import blocks
from nwbdyn.tensors.binning import Binned
from nwbdyn.tensors.windows import Windows
from nwbdyn.trust import artefacts, significance, surrogates
from nwbdyn.trust.significance import Evidence
from nwbdyn.trust.surrogates import SHIFT, TRIALS, Null

HALF_PAIRS = 5  # pairs of complementary halves: ten refits
TOGETHER = 10  # refits that are in memory at a time


def check(problem: Problem, null: Null) -> None:
    """Refuse a null that this problem has no answer to.

    Raises:
        ConfigError: a co-smoothing model, trials without a table, or too many neurons.
    """
    if problem.co_smoothing:
        raise ConfigError(
            f"--null: the edges of {problem.name} are attention maps, not couplings, and a q value "
            "would not make them so. Its `necessity` says whether the maps are needed at all; for "
            "tested edges fit netformer or synapsnet."
        )
    if null.kind == TRIALS and (problem.trials is None or problem.binned.trials is None):
        raise ConfigError(
            "--null trials:K shuffles trials, and windows have to stay inside them: name the "
            f"interval table with --trials, or use --null {SHIFT}:{null.number}."
        )
    if problem.binned.num_neurons > MOST_NEURONS:
        raise ConfigError(
            f"--null: {problem.binned.num_neurons} neurons have no edge table; the limit is "
            f"{MOST_NEURONS}. Choose neurons with --where."
        )


def with_edge_statistics(
    fitted: Fit, problem: Problem, trained: Sequence[Trained], null: Null, place: Workplace
) -> Fit:
    """The fit, with what refits say of its edges in `edges` and in metrics["edges"]."""
    evidence = collect(problem, trained, null, place, seed=fitted.seed)
    rows = problem.split.bins("train")
    recorded = fitted.predictions.recorded
    assert recorded is not None
    residual = recorded[rows] - fitted.predictions.values[rows]
    flags, told = artefacts.flags(problem.binned.neurons, residual)
    coupling = fitted.metrics.get("coupling")
    edges, summary, withheld = significance.judge(
        fitted.edges,
        problem.binned.neurons.ids,
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
    problem: Problem, trained: Sequence[Trained], null: Null, place: Workplace, *, seed: int
) -> Evidence:
    """Train on every surrogate and half-sample.

    Args:
        trained: the models of the recording itself, one per seed.
        seed: of the surrogates, the halves and every refit.
    """
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

    weight = np.mean([matrix(member.model, problem.windows) for member in trained], axis=0)
    drawn = matrices(problem, "null", surrogate, null.number, seed, place)
    halves = matrices(problem, "half", half_sample, 2 * HALF_PAIRS, seed, place)
    return Evidence(
        weight=weight,
        null=drawn,
        halves=halves.reshape(HALF_PAIRS, 2, *weight.shape),
        kind=null.kind,
        hypothesis=hypothesis,
    )


def matrix(model: Model, windows: Windows) -> np.ndarray:
    """(N, N) float64 [post, pre] mean coupling over every window, in the model's own units."""
    return readout.connectivity(model, windows).mean().to_numpy().astype(np.float64)


def half_of_blocks(problem: Problem, random: np.random.Generator) -> np.ndarray:
    """(num_bins,) bool, the bins of a random half of the blocks that hold training bins.

    Blocks are those that intervals are drawn from, and as long as the context at least.
    """
    binned, context = problem.binned, problem.spec.context
    rows = problem.split.bins("train") & binned.valid
    if problem.trials is not None:
        block = blocks.make(binned, problem.split, trials=True, context=context)
    else:
        length = max(context, 2 * blocks.memory(binned.values[rows]))
        block = metrics.time_blocks(binned.num_bins, length)
    names = np.unique(block[rows])
    half = random.permutation(names)[: (len(names) + 1) // 2]
    return np.isin(block, half)


def _recipe(problem: Problem, null: Null) -> tuple[Callable[[np.random.Generator], Binned], str]:
    """What draws one surrogate, and what that makes true."""
    binned, split, least = problem.binned, problem.split, problem.spec.context
    if null.kind == SHIFT:
        words = surrogates.shift_hypothesis(least, binned.bin_width)
        return lambda random: surrogates.shift(binned, split, least=least, random=random), words
    table = binned.trials
    assert table is not None  # check
    column = surrogates.condition_column(table)
    starts, stops = (
        first_bins(binned, table[name].to_numpy(float)) for name in ("start_time", "stop_time")
    )
    condition = None if column is None else table[column].to_numpy()
    return (
        lambda random: surrogates.shuffle_trials(
            binned, split, starts=starts, stops=stops, condition=condition, random=random
        ),
        surrogates.trials_hypothesis(column),
    )


def windows_over(problem: Problem, binned: Binned, *, targets: np.ndarray | None = None) -> Windows:
    """The problem's windows over other bins; of the training ones those with these targets."""
    starts = None
    if targets is not None:
        kept = problem.windows.starts("train")
        kept = kept[targets[kept + problem.spec.context]]
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
        windows_of: the windows of refits by their numbers, TOGETHER of them at a time.
        seed: of every refit.
        read: from a trained model and its windows; by default their mean matrix.
    """
    folder = place.folder(run_directory.REFITS)
    made: dict[int, np.ndarray] = {}
    files = {} if folder is None else {k: folder / f"{name}-{k}.npy" for k in range(number)}
    for k, file in files.items():
        if place.resume and file.exists():
            made[k] = np.load(file, allow_pickle=False)
    left = [k for k in range(number) if k not in made]
    for chunk in (left[first : first + TOGETHER] for first in range(0, len(left), TOGETHER)):
        place.report(Progress(name, len(made), number, "refits"))
        windows = windows_of(chunk)
        for k, one, model in zip(chunk, windows, _models(problem, windows, seed), strict=True):
            made[k] = read(model, one)
            if k in files:
                with run_directory.replacing(files[k]) as partial, partial.open("wb") as opened:
                    np.save(opened, made[k], allow_pickle=False)
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
