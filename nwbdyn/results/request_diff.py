"""Difference between two fit requests, and the option that makes a resume valid.

A fit is described by plain values, as in config.json: its request, and decisions that follow from
it. A sweep widens the windows, which moves the split, which changes the digest of the tensors. Two
fits are the same if their decisions are. If not, the first option in which their requests differ
says why. Runs of version 0.1 hold no request: of these the decisions are compared in the order in
which one changes the next.
"""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from nwbdyn.data import conditions
from nwbdyn.data.conditions import ConditionError
from nwbdyn.request import FitRequest, option_of

Described = dict[str, Any]  # the content of config.json

_FIRST = (  # in the order in which one may change the next
    *("model", "source.uri", "source.digest", "seed", "sweep", "adopted", "null", "states"),
    *("seeds", "draws", "folds", "binning.bin_width", "binning.trials"),
    "config.updates",
)
_OPTIONS = {  # what a run was asked for -> the option that says so
    "model": "--model",
    "seed": "--seed",
    "split.seed": "--seed",
    "sweep": "--sweep",
    "adopted": "--init-from",
    "folds": "--folds",
    "draws": "--heldout-resamples",
    "null": "--null",
    "states": "--states",
    "binning.trials": "--trials",
}
_CHOSEN = "binning.chosen"
_COUNTS = "counts"  # the quantity of spikes


def explain(started: Described, wanted: Described) -> str | None:
    """Explain the first difference between two fits and how to resume; None if they are equal.

    Both are left as they are.
    """
    refused = _refused_condition(started)
    if refused is not None:
        return refused
    left, left_now = (one.get("by_validation") or [] for one in (started, wanted))
    if started.get("request") and wanted.get("request"):
        first, second = (_without_request(one, left) for one in (started, wanted))
        if left == left_now and first == second:
            return None
        message = _request_message(started, wanted)
        if message is not None:
            return message
    for name in _FIRST:
        before, now = _at(started, name), _at(wanted, name)
        if before != now:
            return _message(name, before, now, started)
    if left != left_now:
        return _validation_message(left, left_now, started, wanted)
    difference = _first_difference(_without_request(started, left), _without_request(wanted, left))
    return None if difference is None else _message(*difference, started)


def _request_message(started: Described, wanted: Described) -> str | None:
    """Message on the first option in which two requests differ; None if only the source does."""
    if started.get("source") != wanted.get("source"):
        return None
    before, now = (FitRequest.from_json(one["request"]) for one in (started, wanted))
    for path, (old, new) in before.diff(now).items():
        name = path.rpartition(".")[2]
        if name == "options":
            key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
            name, old, new = f"options.{key}", old.get(key), new.get(key)
        return (
            f"was started with {name} = {_shown(old)}, now it is {_shown(new)}. Resume with "
            f"{_option(name, old)}"
        )
    return None


def _option(name: str, value: Any) -> str:
    """The command-line option that requests a value of a field."""
    if name.startswith("options."):
        option = f"--set {name.removeprefix('options.')}"
        return f"no {option}" if value is None else f"{option}={json.dumps(value)}"
    option = option_of(name)
    if value in (None, (), []):
        return f"no {option}"
    if name == "sweep":
        return f"the {option} of then"
    if isinstance(value, tuple | list):
        return " ".join(f"{option} {shlex.quote(str(one))}" for one in value)
    return f"{option} {shlex.quote(str(value))}"


def _without_request(described: Described, settled: Sequence[str]) -> Described:
    """The decisions alone, without what validation settles."""
    return _unsettled({**described, "request": None}, settled)


def _refused_condition(started: Described) -> str | None:
    """Message for a run whose condition on neurons is outside today's grammar."""
    condition = _at(started, "binning.chosen.where")
    try:
        if condition is not None:
            conditions.parse(condition)
    except ConditionError as error:
        where = f" --where {shlex.quote(error.equivalent)}," if error.equivalent else ""
        return f"was started with a condition that is not run. {error} Fit it anew with{where} -o"
    return None


def _unsettled(described: Described, settled: Sequence[str]) -> Described:
    """Without what validation decides, and what follows from it."""
    if not settled:
        return described
    config = described["config"] | dict.fromkeys(settled)
    parts = {"": described, **described.get("sessions", {})}
    parts = {
        name: part | {"binning": part["binning"] | {"context": None, "inputs": None}}
        for name, part in parts.items()
    }
    own = parts.pop("") | {"config": config}
    return own | {"sessions": parts} if parts else own


def _message(name: str, before: Any, now: Any, started: Described) -> str:
    if name == "draws":  # one is not written down
        before, now = before or 1, now or 1
    if name == _CHOSEN and (message := _message_on_choices(before or {}, now or {})):
        return message
    return (
        f"was started with {name} = {_shown(before)}, now it is {_shown(now)}. Resume with "
        f"{_as_requested(name, before, now, started)}"
    )


def _message_on_choices(before: Described, now: Described) -> str:
    """Text on options that select data, where they differ; empty where only a digest differs."""
    differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    old, new = (_chosen("", {name: one.get(name) for name in differ}) for one in (before, now))
    return "" if old == new else f"was started with {old}, now with {new}. Resume with {old}"


def _validation_message(
    before: Sequence[str], now: Sequence[str], started: Described, wanted: Described
) -> str:
    """Options that are no longer left to validation, or have come to be; and others that changed.

    An option that validation settles may be closed by itself or through another one.
    """
    others = [
        name
        for name, value in started["config"].items()
        if name not in (*before, *now) and wanted["config"].get(name) != value
    ]
    closed = [f"--set {name}={json.dumps(started['config'][name])}" for name in others]
    closed += [
        f"--set {name}={json.dumps(started['config'][name])}" for name in now if name not in before
    ]
    opened = [f"no --set {name}" for name in before if name not in now]
    return (
        f"left {_listed(before)} to validation, now {_listed(now)} is left to it. Resume with "
        f"{', '.join([*closed, *opened])}"
    )


def _listed(names: Sequence[str]) -> str:
    *others, last = names or ["nothing"]
    return f"{', '.join(others)} and {last}" if others else last


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value)} candidates"
    return repr(value)


def _as_requested(name: str, before: Any, now: Any, started: Described) -> str:
    """The command-line option that restores a decision."""
    part, _, option = name.partition(".")
    if name == "binning.bin_width":
        return _width(before, started["binning"].get("quantity"))
    by_epochs = started.get("config", {}).get("updates") is None
    if name in ("config.epochs", "config.updates") and by_epochs:
        return f"--epochs {started['config']['epochs']}"
    if name == "config.updates" and now is None:
        return f"--set updates={before} and no --epochs"
    if name.startswith(_CHOSEN):
        return _chosen(name.removeprefix(_CHOSEN).removeprefix("."), before)
    if part == "config":
        return f"--set {option}={json.dumps(before)}"
    if name == "seeds":
        return f"--seeds {len(before)}"
    if name not in _OPTIONS:
        return "the same recording and choices"
    if before is None:
        return f"no {_OPTIONS[name]}"
    if name == "sweep":
        return "the --sweep of then"
    if name == "adopted":
        return f"--init-from {before['run']}, as it was then"
    return _OPTIONS[name] + ("" if before is True else f" {before}")


def _chosen(name: str, before: Any) -> str:
    """The options that take from the recording what was taken."""
    pairs = {name: before} if name else dict(before or {})
    shown = [
        f"no --{option.replace('_', '-')}"
        if value is None
        else f"--{option.replace('_', '-')} {shlex.quote(str(value))}"
        for option, value in pairs.items()
        if not option.endswith("_digest")
    ]
    return ", ".join(shown) or "the same recording and choices"


def _width(value: float, quantity: str | None) -> str:
    short = f"{value:g}"
    if quantity == _COUNTS:
        return f"--bin-width {short if float(short) == value else value}"
    if float(short) != value:  # frames as the file has them
        return "no --bin-width"
    return f"--bin-width {short}, or none where frames were kept"


def _at(described: Described, name: str) -> Any:
    """The value at "part.name"; None if there is none."""
    value: Any = described
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _first_difference(before: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            label = f"{name}.{key}" if name else key
            difference = _first_difference(before.get(key), now.get(key), label)
            if difference is not None:
                return difference
        return None
    return None if before == now else (name, before, now)
