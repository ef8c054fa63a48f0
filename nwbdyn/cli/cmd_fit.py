"""`nwbdyn fit`: from an address to a run directory."""

import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import documents, options, scale, terminal
from nwbdyn.cli.grouped import Grouped
from nwbdyn.cli.plan import ask_above_limit, print_plan
from nwbdyn.errors import ConfigError, NwbdynError, ReadError
from nwbdyn.progress import Report

if TYPE_CHECKING:
    from nwbdyn.recording import Source
    from nwbdyn.request import FitRequest
    from nwbdyn.workflows.batch import Session, SessionResult
    from nwbdyn.workflows.ray_cluster import RayExecutor

EXIT_SOME_FAILED = 3


LEFT_OUT = (
    "A joint fit needs every recording. To fit without this one, fetch the others into a folder "
    "and fit the folder."
)
CHECKED = ("states", "null")  # before torch is imported
EXAMPLES = """\b
Examples:
  nwbdyn fit sample:reach --model stndt
  nwbdyn fit dandi:000140 --model stndt --epochs 50 -o runs/maze
  nwbdyn fit worms/ --model synapsnet --joint -o runs/worms
"""


SECTIONS = {  # of the help: heading -> names of options
    "Model": ("model", "config", "settings", "bin_width", "epochs", "seed", "init_from"),
    "Recording": (
        *("where", "quantity", "plane", "series", "spike_time_unit", "cell_types"),
        *("cell_type_column", "time_axis", "frame_rate", "frame_start", "frame_time_unit"),
        *("trials", "covariates", "events", "instance", "take_all"),
    ),
    "How far to trust it": (
        *("null", "states", "seeds", "folds", "heldout_resamples", "influence_windows"),
        "targets",
    ),
    "Many fits": ("sweep", "joint", "neuron_id", "engine", "asha", "cluster"),
    "Where it runs": ("device", "devices", "nodes", "cpus_per_fit", "gpus_per_fit"),
    "Output": ("run", "resume", "overwrite", "as_json", "quiet", "log_format"),
}


@click.command(
    "fit",
    cls=Grouped,
    sections=SECTIONS,
    epilog=EXAMPLES,
    short_help="Fit a model to every recording, beside its baselines.",
)
@options.address
@options.model(required=True, help="What is fitted")
@click.option(
    "-o",
    "--output",
    "run",
    type=click.Path(path_type=Path),
    help="Run directory.  [default: runs/<file>-<model>-s<seed>]",
)
@click.option("--bin-width", type=float, metavar="S", help="Seconds per bin.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the data, at most.")
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of initial weights, batch order and held-out neurons.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, help="Number of fits, each with another seed."
)
@click.option("--folds", type=click.IntRange(min=3), help="Cross-validate over interleaved blocks.")
@click.option(
    "--heldout-resamples",
    type=click.IntRange(min=1),
    help="Sets of held-out neurons to average.  [default: 5; 1 where the file names them]",
)
@click.option(
    "--null",
    metavar="KIND:K",
    help="Test edges against K surrogates: shift:20, trials:20; spike times at 1 ms: jitter:20.",
)
@click.option(
    "--states",
    metavar="STATES",
    help="Test whether coupling differs between states: an interval table TABLE[:COLUMN], a CSV "
    "file (start_time, stop_time, label), or times such as run=0-40,rest=40-90,run=90-125. Each "
    "state needs 10 periods.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Device of the training; auto is cuda if available.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Model options from a JSON or TOML file.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A model option.")
@click.option(
    "--trials",
    metavar="NAME",
    help="Align windows to TABLE[.COLUMN][[BEGIN,END]], e.g. epochs, trials.go_cue_time[-0.5,1]; "
    "none ignores trials.",
)
@click.option("--covariate", "covariates", multiple=True, metavar="NAME", help="Behaviour input.")
@click.option(
    "--events",
    multiple=True,
    metavar="NAME",
    help="Events as input: TABLE[.TIMES][:KINDS], e.g. licks, trials:choice.",
)
@click.option(
    "--targets",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Score against this targets file of the Neural Latents Benchmark.",
)
@click.option(
    "--sweep",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Try the settings in this YAML file; validation chooses one.",
)
@options.opening
@click.option("--all", "take_all", is_flag=True, help="Do not ask above 5 files or 5 GB.")
@click.option("--joint", is_flag=True, help="One model over all recordings.")
@click.option(
    "--neuron-id",
    metavar="COLUMN",
    help="With --joint: column that identifies neurons across recordings.",
)
@click.option(
    "--init-from",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="RUN",
    help="Load the shared weights of this run and keep them fixed.",
)
@scale.options
@click.option(
    "--influence-windows",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Test windows for the predictive influence; slow for stndt.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace an existing run directory.")
@click.option("--draws", "old_draws", type=click.IntRange(min=1), hidden=True)
@click.option(
    "--adopt",
    "old_adopt",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    hidden=True,
)
@documents.option
@options.instance
@options.quiet
def command(address: str, **choices: Any) -> None:
    """Fit a model to every recording at ADDRESS and score it beside its baselines.

    The exit code is 0 when it is done, 1 when nothing could be fitted, 2 for a wrong command line,
    and 3 when some of several recordings were fitted and some failed.
    """
    quiet, take_all = choices.pop("quiet"), choices.pop("take_all")
    as_json = choices.pop("as_json")
    call = _call_of(address, choices)
    many = call.several and not call.joint
    is_rank_zero = scale.join(call.request, engine=call.executor, many=many)
    quiet = quiet or not is_rank_zero
    if call.several or (call.sources[0].dandiset_id and not quiet):
        print_plan(call.sources, quiet=quiet or as_json)
    ask_above_limit(call.sources, take_all=take_all)
    if not quiet and not call.request.output.resume:
        scale.print_cost_estimate(call.sessions, call.request, call.opened)
    outcomes = _fit_or_exit(call, quiet=quiet, is_rank_zero=is_rank_zero)
    if is_rank_zero:
        if as_json:
            from nwbdyn.cli import fit_document

            content = fit_document.of_run(
                call.run, call.request.model, joint=call.joint, outcomes=outcomes
            )
            documents.write("fit", {"address": address, **content})
        else:
            _print_results(call, outcomes, quiet=quiet)
        _exit_with_failures(outcomes)


@dataclass(frozen=True)
class _FitCall:
    """A command line that was read: the recordings, the request, and who trains."""

    sources: "Sequence[Source]"
    sessions: "Sequence[Session]"
    request: "FitRequest"
    opened: dict[str, Any]  # arguments of `opening.open_source`
    joint: bool
    neuron_id: str | None
    executor: "RayExecutor | None"

    @property
    def several(self) -> bool:
        return len(self.sessions) > 1

    @property
    def run(self) -> Path:
        run = self.request.output.run
        assert run is not None  # the command line has a default
        return run


def _call_of(address: str, choices: dict[str, Any]) -> _FitCall:
    """Read and check the options, and resolve the address.

    Raises:
        click.UsageError: options that exclude each other.
    """
    from nwbdyn import models
    from nwbdyn.request import FitRequest

    name = choices.pop("model")
    models.check_name(name)
    FitRequest.from_keywords(name, **{key: choices[key] for key in CHECKED}).check()
    from nwbdyn import archive  # after the checks that need no torch
    from nwbdyn.fitting import model_options, sweep_space
    from nwbdyn.models.base import CO_SMOOTHING

    model_class = models.load(name)
    if choices["states"] is not None and model_class.target == CO_SMOOTHING:
        raise click.UsageError(
            f"--states tests couplings to the next bin, and {name} has none. Fit netformer or "
            "synapsnet."
        )
    executor = scale.executor_from_options(choices)
    _rename_old_options(choices)
    if choices["sweep"] is not None:
        choices["sweep"] = sweep_space.read(choices["sweep"])
    joint, neuron_id = choices.pop("joint"), choices.pop("neuron_id")
    if neuron_id is not None and not joint:
        raise click.UsageError("--neuron-id says which neurons a --joint fit shares; pass --joint.")
    hyperparameters = options.config_file(choices.pop("config"))
    hyperparameters |= options.pairs(choices.pop("settings"), "--set")
    model_options.check_options(name, model_class, hyperparameters)
    instance = choices.pop("instance")
    opened, choices = options.split_opening(choices)
    covariates = (*choices.pop("covariates"), *choices.pop("events"))
    request = FitRequest.from_keywords(
        name, options=hyperparameters, covariates=covariates, **choices
    )
    if joint:
        _check_joint(request)
    sources = archive.resolve(address, instance=instance)
    sessions = archive.sessions(sources)
    if request.output.run is None:
        stem = _collection_name(address) if len(sessions) > 1 else sessions[0][0].name
        run = Path("runs") / f"{stem}-{name}-s{request.validation.seed}"
        request = request.with_keywords(run=run)
    return _FitCall(sources, sessions, request, opened, joint, neuron_id, executor)


def _fit_or_exit(call: _FitCall, *, quiet: bool, is_rank_zero: bool) -> "Sequence[SessionResult]":
    """Fit; exit if that was stopped. Returns one result per recording of a batch, else none."""
    try:
        with terminal.warnings_on_stderr(), terminal.progress_display(quiet=quiet) as report:
            return _fit(call, report)
    except NwbdynError as error:
        if is_rank_zero or scale.is_of_one_process(error):
            raise
        sys.exit(1)  # rank zero prints the reason
    except KeyboardInterrupt:
        if is_rank_zero and not call.run.exists():
            raise
        if is_rank_zero:
            again = terminal.command(_command_line(resume=True))
            stopped = f"Stopped. What was done is in:\n  {call.run}\ngo on with:\n{again}"
            terminal.echo(f"\n{stopped}", err=True)
            documents.write_error(click.get_current_context(), "Interrupted", stopped, 130)
        sys.exit(130)


def _fit(call: _FitCall, report: Report) -> "Sequence[SessionResult]":
    """Fit all recordings jointly, each on its own, or the only one."""
    from nwbdyn.opening import open_source
    from nwbdyn.workflows import batch
    from nwbdyn.workflows.batch import SessionJob
    from nwbdyn.workflows.joint import fit_joint_request

    request, executor = call.request, call.executor
    if call.joint:
        with ExitStack() as files:
            try:
                recordings = [
                    files.enter_context(open_source(source, report=report, **call.opened))
                    for source, *_ in call.sessions
                ]
            except ReadError as error:
                raise type(error)(f"{error} {LEFT_OUT}") from error
            fit_joint_request(
                request, recordings, neuron_id=call.neuron_id, executor=executor, report=report
            )
        return ()
    if call.several:
        return batch.fit_each(
            call.sessions, request, opened=call.opened, report=report, engine=executor
        )
    batch.fit_session(SessionJob(call.sessions[0], request, call.opened), report, executor=executor)
    return ()


def _print_results(call: _FitCall, outcomes: "Sequence[SessionResult]", *, quiet: bool) -> None:
    """Print the scores and the run directory."""
    from nwbdyn.cli import scoreboard
    from nwbdyn.results import run_directory
    from nwbdyn.results.fit_results import load

    run, request = call.run, call.request
    if call.joint:
        table = run_directory.read_json(run, run_directory.METRICS)
        swept = request.model_options.sweep is not None
        each: dict[str, Any] = {
            name: run_directory.read_json(run / name, run_directory.METRICS)
            for name in run_directory.sessions_in(run)
        }
        text = scoreboard.of_joint(table, request.model, swept=swept, each=each)
    elif call.several:
        text = scoreboard.of_outcomes(outcomes, request.model) + _next_steps(call, outcomes)
    else:
        text = scoreboard.of_fit(load(run))
    terminal.say(text, quiet=quiet)
    terminal.line(run)


def _next_steps(call: _FitCall, outcomes: "Sequence[SessionResult]") -> str:
    """Commands for the pages of the fits, and for the recordings that failed."""
    from nwbdyn.workflows import batch

    statuses = {outcome.status for outcome in outcomes}
    steps = []
    if batch.FITTED in statuses:
        report = terminal.command(["nwbdyn", "report", str(call.run)])
        steps.append(f"One page for each fit, and a summary page:\n{report}")
    if batch.FAILED in statuses:
        steps.append("To fit the failed recordings again, repeat the command with --resume.")
    return "".join(f"\n\n{step}" for step in steps)


def _exit_with_failures(outcomes: "Sequence[SessionResult]") -> None:
    """Exit with 1 if no recording of several was fitted, with 3 if some failed."""
    from nwbdyn.workflows import batch

    statuses = {outcome.status for outcome in outcomes}
    if outcomes and batch.FITTED not in statuses:
        sys.exit(1)
    if batch.FAILED in statuses:
        sys.exit(EXIT_SOME_FAILED)


def _check_joint(request: "FitRequest") -> None:
    """Refuse options that a joint fit cannot have, before an archive is contacted."""
    from nwbdyn.fitting import pipeline
    from nwbdyn.fitting.stages import STAGES

    try:
        pipeline.check_joint(request, STAGES)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _rename_old_options(choices: dict[str, Any]) -> None:
    """Take options under their names of version 0.1, which this release still accepts."""
    for old, new in (("old_draws", "heldout_resamples"), ("old_adopt", "init_from")):
        value = choices.pop(old)
        if value is not None:
            choices[new] = value


def _collection_name(address: str) -> str:
    """A folder name for a whole address: dandi:000140/sub-* -> 000140-sub."""
    stem = re.sub(r"^\w+:(//)?", "", address)
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "runs"


def _command_line(*, resume: bool) -> list[str]:
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--overwrite",)]
    if resume and "--resume" not in arguments:
        arguments.append("--resume")
    return ["nwbdyn", *arguments]
