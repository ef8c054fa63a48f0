"""The same model trained again, on surrogates and on halves of the data: what `significance` needs.

Co-smoothing models are tested by these refits; edges of next-bin models by `lagged_coupling`. Every
refit has the options of the fit it is compared with. Halves start at random, each from a seed of
its own: where the start leaves traces in a matrix, as between thin maps, refits from one seed
would agree on them, and the standard error would not know. Sessions of a joint fit are drawn anew
together and refitted together; what is read is kept apart. Each matrix is kept in the run
directory, so that an interrupted run goes on where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
import torch

from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import surrogate_data
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext, TrainingTask
from nwbdyn.inference import influence, readout
from nwbdyn.inference.readout import MOST_NEURONS
from nwbdyn.models.base import CO_SMOOTHING, Model
from nwbdyn.progress import Progress
from nwbdyn.request import FitRequest
from nwbdyn.results import run_directory
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import artefacts, significance
from nwbdyn.statistics.significance import INFLUENCE, WEIGHT, NullSamples
from nwbdyn.statistics.surrogates import JITTER, SHIFT, TRIALS, Null
from nwbdyn.training.trainer import Trained, train

AnyWindows = Windows | PooledWindows
Cut = TypeVar("Cut", bound=AnyWindows)

HALF_PAIRS = 5  # pairs of complementary halves: ten refits
TOGETHER = 10  # refits that are in memory at a time
NOT_CALIBRATED = (
    "q has not been calibrated for this model on networks with known wiring; edges have p only"
)


@dataclass(frozen=True)
class EdgeRefits(Stage):
    """Section "edges" of a co-smoothing model: its predictive influence, against refits."""

    null: Null
    samples: Mapping[str, NullSamples] = field(default_factory=dict)  # session -> refits

    @property
    def record(self) -> Mapping[str, Any]:
        """The null, as it was requested."""
        return {"null": str(self.null)}

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a null, and for next-bin models (see `lagged_coupling`).

        Raises:
            ConfigError: a null that this recording or model cannot have.
        """
        null = surrogate_data.requested(request)
        if null is None or not task.co_smoothing:
            return None
        check(task, null)
        return cls(null)

    def train(
        self,
        request: FitRequest,
        task: TrainingTask,
        trained: Sequence[Trained],
        ctx: RunContext,
    ) -> Self:
        """Refit on surrogates and on halves of the data."""
        samples = collect_each(
            task,
            trained,
            self.null,
            ctx,
            seed=request.seeds[0],
            influence_windows=request.tests.influence_windows,
        )
        return replace(self, samples=samples)

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Statistics of every edge."""
        return result_of(state.fit, state.task, self.samples[state.task.windows.session])


def check(problem: FitTask, null: Null) -> None:
    """Refuse a null that this problem has no answer to.

    Raises:
        ConfigError: a model whose influence says nothing, trials without a table or that overlap,
            or too many neurons.
    """
    if problem.co_smoothing:
        with torch.random.fork_rng([]):
            model = problem.model_class(problem.config, problem.layout)
        if not model.supports_influence:
            raise ConfigError(
                f"--null: attention maps of {problem.name} are no couplings. What is tested is its "
                "predictive influence, and that has a meaning where it was trained with all inputs "
                "on one side of a bin hidden: add --set causal_mask_ratio=0.2."
            )
    if null.kind == TRIALS:
        if surrogate_data.trials(problem) is None:
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


def count(null: Null, *, co_smoothing: bool) -> int:
    """Number of trainings of a null beside the fit itself; only a co-smoothing model needs some."""
    if null.kind == JITTER or not co_smoothing:
        return 0
    return null.number + 2 * HALF_PAIRS


def result_of(fitted: Fit, problem: FitTask, evidence: NullSamples) -> StageResult:
    """Edge statistics from refits that are already trained."""
    neurons = fitted.connectivity.neurons
    flags, notes = artefacts.flags(neurons, _unfinished(fitted, problem))
    coupling = fitted.metrics.get("coupling")
    edges, section, withheld = significance.edge_statistics(
        fitted.edges,
        neurons.ids,
        evidence,
        coupling=coupling if isinstance(coupling, dict) else None,
        withheld=NOT_CALIBRATED,
        flags=flags,
    )
    return StageResult(sections=(section,), notes=(*notes, *withheld), edges=edges)


def collect(
    problem: FitTask,
    trained: Sequence[Trained],
    null: Null,
    ctx: RunContext,
    *,
    seed: int,
    influence_windows: int = influence.NUM_WINDOWS,
) -> NullSamples:
    """Train on every surrogate and half-sample of a recording; arguments as for `collect_each`."""
    (samples,) = collect_each(
        problem, trained, null, ctx, seed=seed, influence_windows=influence_windows
    ).values()
    return samples


def collect_each(
    task: TrainingTask,
    trained: Sequence[Trained],
    null: Null,
    ctx: RunContext,
    *,
    seed: int,
    influence_windows: int = influence.NUM_WINDOWS,
) -> dict[str, NullSamples]:
    """Train on every surrogate and half-sample of all sessions; return {session: NullSamples}.

    Args:
        trained: the models of the recordings themselves, one per seed.
        seed: of the draws and of the refits on surrogates; those on halves take the following ones.
        influence_windows: test windows that a predictive influence is averaged over, at most.
    """
    sessions = task.sessions
    recipes = {name: surrogate_data.recipe(one, null) for name, one in sessions.items()}
    chosen = complementary_halves(list(sessions.values()), seed)

    def surrogate(numbers: Sequence[int]) -> list[AnyWindows]:
        draws = [np.random.default_rng([seed, number, 0]) for number in numbers]
        return [
            _pooled(
                [
                    surrogate_data.windows_over(one, recipes[name][0](draw))
                    for name, one in sessions.items()
                ]
            )
            for draw in draws
        ]

    def half_sample(numbers: Sequence[int]) -> list[AnyWindows]:
        return [
            _pooled(
                [
                    surrogate_data.windows_over(one, one.binned, targets=targets)
                    for one, targets in zip(sessions.values(), chosen[k], strict=True)
                ]
            )
            for k in numbers
        ]

    def read(model: Model, windows: AnyWindows) -> np.ndarray:
        parts = [windows] if isinstance(windows, Windows) else windows.sessions
        each = [matrix(model, one, influence_windows=influence_windows) for one in parts]
        return each[0] if len(each) == 1 else np.concatenate([one.ravel() for one in each])

    own_seeds = range(seed + 1, seed + 1 + 2 * HALF_PAIRS)
    drawn = matrices(task, "null", surrogate, [seed] * null.number, ctx, read=read)
    halves = matrices(task, "half", half_sample, own_seeds, ctx, read=read)
    own = {name: [read(m.model, one.windows) for m in trained] for name, one in sessions.items()}
    return {
        name: NullSamples(
            weight=np.mean(own[name], axis=0),
            null=null_part.reshape(-1, *own[name][0].shape),
            halves=half_part.reshape(HALF_PAIRS, 2, *own[name][0].shape),
            kind=null.kind,
            hypothesis=recipes[name][1],
            tested=INFLUENCE if sessions[name].co_smoothing else WEIGHT,
        )
        for name, null_part, half_part in zip(
            own, _by_session(drawn, own), _by_session(halves, own), strict=True
        )
    }


def _by_session(values: np.ndarray, own: Mapping[str, Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Cut the matrices of refits, (n, …) with those of all sessions in a row, by session."""
    ends = np.cumsum([each[0].size for each in own.values()])
    return np.split(values.reshape(len(values), -1), ends[:-1], axis=1)


def complementary_halves(problems: Sequence[FitTask], seed: int) -> list[list[np.ndarray]]:
    """HALF_PAIRS random halves of the training blocks, each followed by its complement.

    Returns:
        (2 * HALF_PAIRS) lists with one (num_bins,) bool per session.
    """
    chosen: list[list[np.ndarray]] = []
    for number in range(HALF_PAIRS):
        draw = np.random.default_rng([seed, number, 1])
        half = [surrogate_data.half_of_blocks(problem, draw) for problem in problems]
        chosen += [half, [~one for one in half]]
    return chosen


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


def _unfinished(fitted: Fit, problem: FitTask) -> np.ndarray | None:
    """(n, N) recorded minus predicted in training bins; None for reconstructions."""
    if problem.co_smoothing:
        return None  # rates of held-in neurons are reconstructions
    rows = problem.split.bins("train")
    recorded = fitted.predictions.recorded
    assert recorded is not None
    return recorded[rows] - fitted.predictions.values[rows]


def matrices(
    problem: TrainingTask,
    name: str,
    windows_of: Callable[[Sequence[int]], Sequence[Cut]],
    seeds: Sequence[int],
    ctx: RunContext,
    *,
    read: Callable[[Model, Cut], np.ndarray],
) -> np.ndarray:
    """(len(seeds), …) what is read from refits, or is in the run directory already.

    Args:
        name: of the refits, in the run directory and to who watches.
        windows_of: the windows of refits by their numbers, TOGETHER of them at a time at most.
        seeds: of the refits.
        read: from a trained model and its windows.
    """
    number = len(seeds)
    folder = ctx.folder(run_directory.REFITS)
    files = {} if folder is None else {k: folder / f"{name}-{k}.npy" for k in range(number)}

    def kept() -> dict[int, np.ndarray]:
        there = {k: file for k, file in files.items() if ctx.resume and file.exists()}
        return {k: np.load(file, allow_pickle=False) for k, file in there.items()}

    def refitted(numbers: Sequence[int]) -> dict[int, np.ndarray]:
        windows = windows_of(numbers)
        models = _models(problem, windows, [seeds[k] for k in numbers])
        refits = zip(models, windows, strict=True)
        return {k: read(*refit) for k, refit in zip(numbers, refits, strict=True)}

    made = ctx.team.broadcast_from_rank0(kept)
    left = [k for k in range(number) if k not in made]
    together = TOGETHER * ctx.team.size
    for chunk in (left[first : first + together] for first in range(0, len(left), together)):
        ctx.report(Progress(name, len(made), number, "refits"))
        new = ctx.team.scatter(chunk, refitted)
        for k in chunk if files else ():
            with (
                run_directory.atomic_write(files[k]) as unfinished,
                unfinished.open("wb") as opened,
            ):
                np.save(opened, new[k], allow_pickle=False)
        made |= new
    ctx.report(Progress(name, number, number, "refits"))
    return np.stack([made[k] for k in range(number)])


def _pooled(sessions: Sequence[Windows]) -> AnyWindows:
    return sessions[0] if len(sessions) == 1 else PooledWindows(sessions)


def _models(
    problem: TrainingTask, windows: Sequence[AnyWindows], seeds: Sequence[int]
) -> list[Model]:
    """The problem's model trained on each of these."""
    adopted = None if problem.adopted is None else problem.adopted.state
    return [
        train(
            problem.model_class,
            problem.config,
            problem.layout,
            one,
            seed=seed,
            device=problem.windows.device,
            adopted=adopted,
        ).model
        for one, seed in zip(windows, seeds, strict=True)
    ]
