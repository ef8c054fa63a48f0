"""Options that say where fits run: this process, several of it, or a Ray cluster."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nwbdyn.cluster import Ray

_OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(["ray"]),
        help="Many fits at once: recordings, a sweep, seeds.",
    ),
    click.option("--address", "cluster", metavar="HOST:PORT", help="Of a running Ray cluster."),
    click.option(
        "--cpus-per-fit",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="Cores of one fit; 1 where nothing is said.",
    ),
    click.option(
        "--gpus-per-fit",
        type=click.FloatRange(min=0),
        metavar="N",
        help="0.25 lets four fits share a GPU.",
    ),
    click.option("--asha", is_flag=True, help="Give up candidates of a sweep that lag behind."),
)
_NEEDS_ENGINE = (
    ("cluster", "--address"),
    ("cpus_per_fit", "--cpus-per-fit"),
    ("gpus_per_fit", "--gpus-per-fit"),
    ("asha", "--asha"),
)


def options(command: Callable[..., object]) -> Callable[..., object]:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_engine(choices: dict[str, Any]) -> "Ray | None":
    """The engine that was asked for; its options are taken out of `choices`.

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
    from nwbdyn.cluster import Ray

    return Ray(
        address=given["cluster"],
        cpus=given["cpus_per_fit"] or 1,
        gpus=given["gpus_per_fit"] or 0,
        asha=given["asha"],
    )
