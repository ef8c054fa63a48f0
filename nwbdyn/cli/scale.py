"""Options that set where fits run (this process, several, a Ray cluster), and the cost estimate."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from nwbdyn.cli import terminal
from nwbdyn.errors import NwbdynError

if TYPE_CHECKING:
    from nwbdyn.request import FitRequest
    from nwbdyn.workflows.batch import Session
    from nwbdyn.workflows.ray_cluster import RayExecutor

_OPTIONS = (
    click.option(
        "--devices",
        type=click.IntRange(min=1),
        default=1,
        help="GPUs of this machine, or processes on CPUs, that train one model together.",
    ),
    click.option(
        "--nodes",
        type=click.IntRange(min=1),
        default=1,
        help="Machines that train one model together.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["ray"]),
        help="Run fits in parallel: recordings, a sweep, seeds.",
    ),
    click.option("--cluster", metavar="HOST:PORT", help="A running Ray cluster."),
    click.option(
        "--cpus-per-fit",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="Cores of one fit; 1 if not given.",
    ),
    click.option(
        "--gpus-per-fit",
        type=click.FloatRange(min=0),
        metavar="N",
        help="GPUs of one fit; with 0.25 four fits share one.",
    ),
    click.option("--asha", is_flag=True, help="Stop poor candidates of a sweep early."),
)
_NEEDS_ENGINE = (
    ("cluster", "--cluster"),
    ("cpus_per_fit", "--cpus-per-fit"),
    ("gpus_per_fit", "--gpus-per-fit"),
    ("asha", "--asha"),
)


def options(command: Callable[..., object]) -> Callable[..., object]:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def executor_from_options(choices: dict[str, Any]) -> "RayExecutor | None":
    """The executor in the options; its options are removed from `choices`.

    Raises:
        click.UsageError: options of an engine without one, or --asha without a sweep.
    """
    name = choices.pop("engine")
    given = {key: choices.pop(key) for key, _ in _NEEDS_ENGINE}
    if name is None:
        for key, option in _NEEDS_ENGINE:
            if given[key]:
                raise click.UsageError(f"{option} belongs to an engine; pass --engine ray.")
        return None
    if given["asha"] and choices["sweep"] is None:
        raise click.UsageError("--asha gives up candidates of a sweep; pass --sweep FILE.")
    from nwbdyn.workflows.ray_cluster import RayExecutor

    return RayExecutor(
        cluster=given["cluster"],
        cpus=given["cpus_per_fit"] or 1,
        gpus=given["gpus_per_fit"] or 0,
        asha=given["asha"],
    )


def join(request: "FitRequest", *, engine: "RayExecutor | None", many: bool) -> bool:
    """Start or join the processes that train together; True in the one that writes and prints.

    Args:
        many: each of several recordings is to be fitted on its own.

    Raises:
        click.UsageError: several processes were asked for, and an engine, or many fits.
    """
    launched = "TORCHELASTIC_RUN_ID" in os.environ
    compute = request.compute
    if compute.devices * compute.nodes == 1 and not launched:
        return True
    if engine is not None:
        raise click.UsageError(
            "--devices trains one model on several devices, --engine many models at once. Leave "
            "one of them out."
        )
    if many:
        raise click.UsageError(
            "--devices trains one model, and these are several recordings. Pass --engine ray to "
            "fit several at once, or --joint to fit one model to all."
        )
    from nwbdyn.training import distributed

    return distributed.init_process_group(
        compute.device, compute.devices, compute.nodes
    ).is_rank_zero


def is_of_one_process(error: NwbdynError) -> bool:
    """True where the other processes of a team do not know of this error: its memory ran out."""
    from nwbdyn.training import out_of_memory

    return error.__cause__ is not None and out_of_memory.ran_out(error.__cause__)


def print_cost_estimate(
    sessions: "Sequence[Session]", request: "FitRequest", opened: dict[str, Any]
) -> None:
    """On a terminal, what a long fit will take, by the first recording, and what shortens it."""
    if not sys.stderr.isatty():
        return
    from nwbdyn import models
    from nwbdyn.fitting import cost, sweep_space
    from nwbdyn.fitting.stages import edge_tests
    from nwbdyn.models.base import CO_SMOOTHING
    from nwbdyn.opening import open_source
    from nwbdyn.statistics.surrogates import Null

    data, model, validation = request.data, request.model_options, request.validation
    length = {} if model.epochs is None else {"epochs": model.epochs, "updates": None}
    device = request.compute.device
    try:
        null = None if request.tests.null is None else Null.parse(request.tests.null)
        co_smoothing = models.load(request.model).target == CO_SMOOTHING
        with open_source(sessions[0][0], **opened) as recording:
            estimate = cost.estimate(
                recording,
                request.model,
                options={**model.options, **length},
                bin_width=data.bin_width,
                draws=validation.heldout_resamples,
                device=None if device == "auto" else device,
            )
    except NwbdynError:
        return  # the fit says what is wrong
    lines = cost.advice(
        estimate,
        recordings=len(sessions),
        points=1 if model.sweep is None else len(sweep_space.points(model.sweep)),
        repeats=validation.seeds * estimate.draws + (validation.folds or 0),
        refits=0 if null is None else edge_tests.count(null, co_smoothing=co_smoothing),
    )
    for line in lines:
        terminal.echo(line, err=True)
