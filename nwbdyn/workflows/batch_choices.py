"""What the fits of a folder were asked for, written down beside them and compared when resumed."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from nwbdyn.errors import FitError, ResultsError
from nwbdyn.results import run_directory

FILE = "choices.json"
_NOT_COMPARED = ("overwrite", "resume")  # how to go about it, not what to fit
_OPTIONS = {"covariates": "--covariate", "options": "--set", "events": "--events"}


def plain(
    model: str, opened: Mapping[str, Any], choices: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The choices as JSON holds them."""
    compared = {name: value for name, value in choices.items() if name not in _NOT_COMPARED}
    asked = {"model": {"model": model}, "opened": dict(opened), "choices": compared}
    return json.loads(json.dumps(asked, sort_keys=True, default=str))


def digest(asked: Mapping[str, Any]) -> str:
    """Of what `plain` returns, as "sha256:…"."""
    return f"sha256:{sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()}"


def check(run: Path, asked: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Refuse to touch finished fits of other choices, or of any unless they are resumed.

    Args:
        run: the folder of all fits.
        asked: as `plain` returns it.
        resume: finished fits of the same choices stay.
        overwrite: finished fits are replaced.

    Raises:
        FitError: `resume` with another choice; it names the option.
        ResultsError: finished fits are there, and neither was given.
    """
    rows = [row for row in summary(run) if row.get("status") == "fitted"]
    if overwrite or not rows:
        return
    if not resume:
        raise ResultsError(
            f"{run} holds {len(rows)} finished runs. Pass --resume to keep them and fit the rest, "
            "--overwrite to replace them, or another -o."
        )
    before = _read(run)
    if before is None:
        if {row.get("asked") for row in rows} != {digest(asked)}:
            raise FitError(
                f"The runs in {run} were started with other options, which this version did not "
                "write down. Resume with the same ones, or pass another -o."
            )
        return
    changes = [
        (name, before.get(part, {}).get(name), asked[part].get(name))
        for part in asked
        for name in sorted({*before.get(part, {}), *asked[part]})
    ]
    for name, then, now in changes:
        if then != now and (_is_given(then) or _is_given(now)):
            option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            raise FitError(
                f"The runs in {run} were started with {_shown(option, then)}, and this is "
                f"{_shown(option, now)}. Resume with the former, or pass another -o; nothing was "
                "changed."
            )


def write(run: Path, asked: Mapping[str, Any]) -> None:
    """Write the choices down beside the runs."""
    run_directory.write_json(run, FILE, asked)


def summary(run: Path) -> list[dict[str, Any]]:
    """The rows of the folder's summary; none where there is none.

    Raises:
        ResultsError: it is damaged.
    """
    path = run / run_directory.SUMMARY
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        assert all(isinstance(row, dict) for row in rows)
    except (ValueError, TypeError, AssertionError) as error:
        raise ResultsError(f"{path} is damaged ({error}). Pass another -o.") from error
    return rows


def _read(run: Path) -> dict[str, Any] | None:
    return run_directory.read_json(run, FILE) if (run / FILE).exists() else None


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != [] and value != {}


def _shown(option: str, value: Any) -> str:
    """An option as it stands on a command line."""
    if not _is_given(value):
        return f"no {option}"
    if isinstance(value, dict):
        return " ".join(f"{option} {name}={json.dumps(one)}" for name, one in value.items())
    if isinstance(value, list):
        return " ".join(f"{option} {one}" for one in value)
    return option if value is True else f"{option} {value}"
