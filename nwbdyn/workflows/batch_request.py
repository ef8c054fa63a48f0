"""The request of a batch of fits, stored beside the runs and compared when the batch is resumed."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from nwbdyn.errors import FitError, ResultsError
from nwbdyn.request import FitRequest, option_of
from nwbdyn.results import run_directory

FILE = "request.json"


def digest(request: FitRequest, opened: Mapping[str, Any]) -> str:
    """Digest of a request and of the arguments of `open_source`, as "sha256:…"."""
    text = json.dumps(_plain(request, opened), sort_keys=True)
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def check(run: Path, request: FitRequest, opened: Mapping[str, Any]) -> None:
    """Refuse to touch finished fits of another request, or any without `resume` or `overwrite`.

    Args:
        run: the folder of all fits.
        request: of every fit; it says whether finished fits stay or are replaced.
        opened: arguments of `open_source`.

    Raises:
        FitError: `resume` with another option; the message names it.
        ResultsError: there are finished fits, and neither `resume` nor `overwrite` is set.
    """
    rows = [row for row in summary(run) if row.get("status") == "fitted"]
    if request.output.overwrite or not rows:
        return
    if not request.output.resume:
        raise ResultsError(
            f"{run} holds {len(rows)} finished runs. Pass --resume to keep them and fit the rest, "
            "--overwrite to replace them, or another -o."
        )
    if not (run / FILE).exists():
        if {row.get("asked") for row in rows} != {digest(request, opened)}:
            raise FitError(
                f"The runs in {run} were started with other options, which were not stored. Resume "
                "with the same ones, or pass another -o."
            )
        return
    before = run_directory.read_json(run, FILE)
    for option, then, now in _changes(before, _plain(request, opened)):
        raise FitError(
            f"The runs in {run} were started with {_shown(option, then)}, and this is "
            f"{_shown(option, now)}. Resume with the former, or pass another -o; nothing was "
            "changed."
        )


def write(run: Path, request: FitRequest, opened: Mapping[str, Any]) -> None:
    """Store the request beside the runs."""
    run_directory.write_json(run, FILE, _plain(request, opened))


def summary(run: Path) -> list[dict[str, Any]]:
    """The rows of the folder's summary; empty without one.

    Raises:
        ResultsError: it is damaged.
    """
    path = run / run_directory.SUMMARY
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(rows, list), f"it holds {type(rows).__name__}"
        for row in rows:
            stated = [row.get(name) for name in ("uri", "status")]
            assert all(isinstance(value, str) for value in stated), f"uri and status are {stated}"
    except (ValueError, TypeError, AttributeError, AssertionError) as error:
        raise ResultsError(f"{path} is damaged ({error}). Pass another -o.") from error
    return rows


def _plain(request: FitRequest, opened: Mapping[str, Any]) -> dict[str, Any]:
    """The request and the reading options as JSON holds them, without paths."""
    given = {
        name: value.name if isinstance(value, Path) else value
        for name, value in opened.items()
        if value is not None
    }
    return {"opened": given, "request": request.to_json()}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Options that differ, each with both of its values."""
    changes = []
    opened, opened_now = before["opened"], now["opened"]
    for name in sorted({*opened, *opened_now}):
        if opened.get(name) != opened_now.get(name):
            changes.append((option_of(name), opened.get(name), opened_now.get(name)))
    stored = FitRequest.from_json(before["request"])
    for name, (then, value) in stored.diff(FitRequest.from_json(now["request"])).items():
        changes.append((option_of(name.rpartition(".")[2]), then, value))
    return changes


def _shown(option: str, value: Any) -> str:
    """An option as it stands on a command line."""
    if value is None or value is False or value in ((), [], {}):
        return f"no {option}"
    if isinstance(value, dict):
        return " ".join(f"{option} {name}={json.dumps(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return " ".join(f"{option} {one}" for one in value)
    return option if value is True else f"{option} {value}"
