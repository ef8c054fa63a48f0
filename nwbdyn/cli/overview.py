"""Many recordings in one table, as `inspect` ends with: what each holds, and what may be fitted."""

from collections.abc import Sequence
from typing import Any

from nwbdyn.cli import terminal

UNREADABLE, NOTHING, HALF = "cannot be read", "nothing to fit", "its train file"
_COLUMNS = ("recording", "neurons", "activity", "length", "trials", "odd", "fit with")


def table(summaries: Sequence[dict[str, Any]], models: Sequence[str | None]) -> str:
    """One row per recording, and how many can be fitted.

    Args:
        summaries: as `nwb.summary.summarise` makes them; "error" for a file that cannot be read,
            "skipped" for one that holds no activity.
        models: what each would be fitted with; None where nothing can be.
    """
    rows = [_row(one, model) for one, model in zip(summaries, models, strict=True)]
    parts = [f"{sum(model is not None for model in models)} of {len(rows)} can be fitted"]
    if halves := sum(bool(one.get("fitted_with")) for one in summaries):
        parts.append(f"{halves} together with {HALF if halves == 1 else 'their train files'}")
    if unreadable := sum("error" in one for one in summaries):
        parts.append(f"{unreadable} {UNREADABLE}")
    if without := sum("skipped" in one for one in summaries):
        parts.append(f"{NOTHING} in {without}")
    return f"{terminal.table(_COLUMNS, rows)}\n{', '.join(parts)}."


def _row(summary: dict[str, Any], model: str | None) -> tuple[str, ...]:
    name = str(summary["source"]["uri"]).rsplit("/", 1)[-1]
    if "error" in summary:
        return (name, *[""] * 5, UNREADABLE)
    if "skipped" in summary:
        return (name, *[""] * 5, NOTHING)
    neurons, length = summary["neurons"], summary["clock"]["duration"]
    quantity = summary["activity"]["quantity"]
    return (
        name,
        f"{neurons['count']} {'units' if neurons['kind'] == 'unit' else 'ROIs'}",
        "spikes" if quantity == "counts" else quantity,
        "" if length is None else terminal.duration(length),
        "" if summary["trials"] is None else str(summary["trials"]["rows"]),
        str(len(summary["notes"]) or ""),
        HALF if summary.get("fitted_with") else model or NOTHING,
    )
