"""Jobs over a Ray cluster, or the Ray of one machine: recordings, candidates of a sweep, seeds.

Only Ray Tune's public `Tuner` is used, and it decides nothing but what runs where (and, on request,
which candidates of a sweep are given up early). What a job leaves is the run directory that it
would have left in one process, so whatever an engine began, another or none can end. All processes
need to reach these folders: on several nodes they lie on a shared file system.

Ray is not a dependency: `pip install nwbdyn[ray]`.
"""

import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nwbdyn import optional
from nwbdyn.errors import ConfigError, FitError
from nwbdyn.fitting.train_models import Candidate, FailedTraining
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.workflows.batch import FAILED, SessionJob, SessionResult, fit_one_safely

FOLDER = "ray"  # inside the run directory, while Ray works
FIRST_LOOK = 10  # percent of a candidate's course before ASHA may give it up
REDUCTION = 3  # ASHA keeps one candidate in so many at each look


@dataclass(frozen=True)
class RayExecutor:
    """The engine called "ray".

    Args:
        cluster: the address of a running one, as `ray.init` takes it; None starts Ray here.
        cpus: cores of one job.
        gpus: GPUs of one job; a fraction lets jobs share one.
        asha: give up candidates of a sweep that lag behind others (Li et al., "A System for
            Massively Parallel Hyperparameter Tuning", MLSys 2020). Which ones depends on what is
            finished when, so two such sweeps may choose differently.
    """

    cluster: str | None = None
    cpus: float = 1
    gpus: float = 0
    asha: bool = False

    def fit_each(
        self, jobs: Sequence[SessionJob], folder: Path, on_result: Callable[[SessionResult], None]
    ) -> None:
        """Fit every session, each as a job of its own (see `scaling.Engine`)."""

        def ended(number: int, result: dict[str, Any]) -> None:
            job = jobs[number]
            if "outcome" in result:
                on_result(replace(SessionResult(**json.loads(result["outcome"])), run=str(job.run)))
                return
            reason = f"its process ended without a word: {result.get('error', 'no reason given')}"
            on_result(SessionResult(job.session[0].uri, str(job.run), FAILED, reason))

        self._run(_fit_job, [_anywhere(job) for job in jobs], folder / FOLDER, ended)

    def train(
        self, candidates: Sequence[Candidate], folder: Path | None, report: Report = silent
    ) -> dict[int, FailedTraining]:
        """Train candidates in their folders; the position of each that came to nothing, and why.

        Raises:
            ConfigError: there is no run directory to keep them in.
        """
        if folder is None:
            raise ConfigError("An engine keeps what it trains in a run directory. Pass one.")
        out: dict[int, FailedTraining] = {}
        done: set[int] = set()

        def ended(number: int, result: dict[str, Any]) -> None:
            done.add(number)
            report(Progress("engine", len(done), len(candidates), "candidates"))
            validation, epoch = result.get("validation"), result.get("epoch")
            if result.get("failed") or result.get("error"):
                out[number] = FailedTraining(None, None, result.get("failed") or result["error"])
            elif not result.get("complete"):  # Ray writes a "done" of its own when it gives up
                reason = f"given up after {result['percent']:.0f} % of its course, behind others"
                out[number] = FailedTraining(validation, epoch, reason)

        self._run(_train_job, candidates, folder / FOLDER, ended, scheduled=self.asha)
        return out

    def _run(
        self,
        work: Callable[..., None],
        jobs: Sequence[object],
        folder: Path,
        ended: Callable[[int, dict[str, Any]], None],
        *,
        scheduled: bool = False,
    ) -> None:
        """Do `work(job)` for every job; `ended(number, what it last reported)` as each ends."""
        if not jobs:
            return
        with self._connected():
            from ray import tune
            from ray.tune.schedulers import ASHAScheduler

            class Listener(tune.Callback):
                def on_trial_complete(
                    self, iteration: int, trials: list[Any], trial: Any, **more: Any
                ) -> None:
                    ended(trial.config["number"], trial.last_result)

                def on_trial_error(
                    self, iteration: int, trials: list[Any], trial: Any, **more: Any
                ) -> None:
                    error = trial.get_error()
                    ended(trial.config["number"], {"error": str(error).strip().splitlines()[-1]})

                def __reduce__(self) -> Any:
                    return (tune.Callback, ())  # Ray keeps a copy of it, which nobody calls

            scheduler = ASHAScheduler(
                time_attr="percent",
                metric="validation",
                mode="min",
                max_t=100,
                grace_period=FIRST_LOOK,
                reduction_factor=REDUCTION,
            )
            tuner = tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(partial(_one_of, work=work), jobs=list(jobs)),
                    {"cpu": self.cpus, "gpu": self.gpus},
                ),
                param_space={"number": tune.grid_search(list(range(len(jobs))))},
                tune_config=tune.TuneConfig(scheduler=scheduler if scheduled else None),
                run_config=tune.RunConfig(
                    storage_path=str(folder.absolute()), verbose=0, callbacks=[Listener()]
                ),
            )
            try:
                with redirect_stdout(io.StringIO()):  # Ray greets there, however quiet it is to be
                    tuner.fit()
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """A connection to the cluster, or Ray on this machine for as long as the block lasts."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours: it says how to resume
        ray = optional.engine("ray", "ray")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.cluster is None:
            quiet["include_dashboard"] = False
        try:
            ray.init(self.cluster, **quiet)
        except Exception as error:  # Ray raises many kinds, a bare Exception among them
            where = "on this machine" if self.cluster is None else f"at {self.cluster!r}"
            first = str(error).strip().partition("\n")[0]
            raise ConfigError(f"Ray could not be reached {where}: {first}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _anywhere(job: SessionJob) -> SessionJob:
    """The job with absolute paths: a worker runs in a folder of its own."""

    def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v.absolute() if isinstance(v, Path) else v for k, v in values.items()}

    request = job.request.with_keywords(**absolute(job.request.keywords()))
    return replace(job, request=request, opened=absolute(job.opened))


def _one_of(config: dict[str, Any], jobs: list[Any], work: Callable[..., None]) -> None:
    work(jobs[config["number"]])


def _fit_job(job: SessionJob) -> None:
    from ray import tune

    tune.report({"outcome": json.dumps(asdict(fit_one_safely(job)))})


def _train_job(candidate: Candidate) -> None:
    """Train one candidate, and report its validation loss to Ray."""
    from ray import tune

    latest: dict[str, Any] = {}

    def forward(progress: Progress) -> None:
        if "validation" not in progress.detail or not progress.total:
            return
        latest["validation"] = float(progress.detail["best"])
        latest["epoch"] = int(progress.done)
        latest["percent"] = min(99.0, 100 * progress.done / progress.total)
        tune.report(dict(latest))

    try:
        trained = candidate.train(forward, device="cuda" if torch.cuda.is_available() else "cpu")
    except FitError as error:
        latest.setdefault("validation", math.inf)
        tune.report({**latest, "percent": 100, "failed": str(error)})
        return
    ended = {"validation": trained.best, "epoch": trained.best_epoch}
    tune.report({**ended, "percent": 100, "complete": True})
