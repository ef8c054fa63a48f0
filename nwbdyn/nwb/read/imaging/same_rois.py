"""Several series of one ROI table: runs are joined in time, subsets united, corrected ones first.

Runs that overlap in time are joined where both hold the same values there. Two series with other
values of the same ROIs at the same times, and nothing in their names to tell which is meant, are
refused.
"""

from collections.abc import Sequence

import numpy as np

from nwbdyn.errors import NoActivityError, ReadError
from nwbdyn.nwb.read.imaging import responses, roles
from nwbdyn.nwb.read.imaging.responses import Response
from nwbdyn.nwb.read.objects import NwbIndex

COMPARED = 64  # frames of two series, to see whether they hold the same values
SAME_TIME = 0.1  # of a frame interval, between two series' times of one frame
ONE_FRAME = 1.5  # frame intervals by which one run may reach into the next
RATES_DIFFER = 0.05  # share of the first run's frame interval


def combine(contents: NwbIndex, candidates: Sequence[Response]) -> list[Response]:
    """The responses of one ROI table, each ROI and time once; several where clocks differ.

    Raises:
        NoActivityError: series that contradict each other; it says how one is chosen.
    """
    chosen: list[Response] = []
    for response in sorted(candidates, key=_preference):
        sharing = [other for other in chosen if _share_rois(response, other)]
        meeting = [other for other in sharing if not _one_after_another(response, other)]
        if not sharing or (not meeting and _is_run(response, sharing)):
            chosen.append(response)
        elif not meeting or roles.rawness(response.series) > _best(meeting):
            _note_passed_over(contents, response, (meeting or sharing)[0], lost=not meeting)
        elif all(_hold_the_same(response, other) for other in meeting):
            if _adds_rois(response, meeting):
                chosen.append(response)
            else:
                _note_passed_over(contents, response, meeting[0], lost=False)
        elif _is_run(response, meeting) and all(_meet_alike(response, one) for one in meeting):
            chosen.append(response)
        else:
            _by_channel(contents, response, meeting)
    return [_joined(contents, members) for members in _components(contents, chosen)]


def _preference(response: Response) -> tuple[int, int, int, str]:
    series = response.series
    number = roles.channel_number(series)
    return roles.rawness(series), number, -len(response.rows), series.path


def _share_rois(response: Response, other: Response) -> bool:
    """True for series with an ROI in common; without a table, for those of as many ROIs."""
    if response.numbered or other.numbered:
        return len(response.rows) == len(other.rows)
    return len(np.intersect1d(response.rows, other.rows)) > 0


def _one_after_another(response: Response, other: Response) -> bool:
    first, second = sorted((response, other), key=lambda one: one.start)
    return second.start >= first.stop - ONE_FRAME * max(first.interval, second.interval)


def _is_run(response: Response, sharing: Sequence[Response]) -> bool:
    """True for another run of the same kind and channel."""
    kind = (roles.rawness(response.series), roles.channel_number(response.series))
    return any(
        kind == (roles.rawness(other.series), roles.channel_number(other.series))
        for other in sharing
    )


def _best(others: Sequence[Response]) -> int:
    return min(roles.rawness(other.series) for other in others)


def _hold_the_same(response: Response, other: Response) -> bool:
    """True for series with one clock and the same values of shared ROIs."""
    if not np.array_equal(response.timestamps, other.timestamps, equal_nan=True):
        return False
    middle = len(response.timestamps) // 2
    part = slice(middle, middle + COMPARED)
    return _are_equal(response, part, other, part)


def _meet_alike(response: Response, other: Response) -> bool:
    """True for series with the same times and values wherever both were recorded."""
    start, stop = max(response.start, other.start), min(response.stop, other.stop)
    apart = SAME_TIME * min(response.interval, other.interval)
    mine, theirs = (
        np.flatnonzero((one.timestamps >= start - apart) & (one.timestamps <= stop + apart))
        for one in (response, other)
    )
    if len(mine) != len(theirs) or not len(mine):
        return False
    if np.abs(response.timestamps[mine] - other.timestamps[theirs]).max() > apart:
        return False
    parts = range(0, len(mine), COMPARED)
    return all(
        _are_equal(response, mine[at : at + COMPARED], other, theirs[at : at + COMPARED])
        for at in parts
    )


def _are_equal(
    response: Response, frames: slice | np.ndarray, other: Response, others: slice | np.ndarray
) -> bool:
    """True for the same values of the ROIs that both hold, in frames of each."""
    rows, mine, theirs = np.intersect1d(response.rows, other.rows, return_indices=True)
    try:
        these, those = response.data[frames][:, mine], other.data[others][:, theirs]
    except ReadError:
        return False
    return bool(len(rows)) and np.allclose(these, those, rtol=1e-5, equal_nan=True)


def _adds_rois(response: Response, others: Sequence[Response]) -> bool:
    known = np.concatenate([other.rows for other in others])
    return bool(len(np.setdiff1d(response.rows, known)))


def _note_passed_over(
    contents: NwbIndex, response: Response, used: Response, *, lost: bool
) -> None:
    reason = f"the same ROIs as {used.series.path}, which is used"
    num_more = len(np.setdiff1d(response.rows, used.rows))
    if num_more:
        reason += f", and {num_more} more; --series {_shortest(contents, response)} takes these"
    if lost:
        reason += (
            f"; its frames from {response.span()} are other ones and are left out, "
            f"--series {_shortest(contents, response)} takes them"
        )
    contents.note("other-traces", response.series.path, reason, important=lost or num_more > 0)


def _by_channel(contents: NwbIndex, response: Response, meeting: Sequence[Response]) -> None:
    """Pass over a series of a later channel; refuse one of the same."""
    used, number = meeting[0], roles.channel_number(response.series)
    if number > max(roles.channel_number(other.series) for other in meeting):
        reason = (
            f"the same ROIs as {used.series.path} in another channel ({number}), taken as the "
            f"reference; --series {_shortest(contents, response)} takes this"
        )
        contents.note("other-channel", response.series.path, reason, important=True)
        return
    paths = ", ".join([*(other.series.path for other in meeting), response.series.path])
    names = " or ".join(_shortest(contents, one) for one in (used, response))
    start, stop = max(used.start, response.start), min(used.stop, response.stop)
    values = " with other values" if (start, stop) == (response.start, response.stop) else ""
    raise NoActivityError(
        f"{contents.file_name} has several series of the same {len(response.rows)} ROIs at the same"
        f" times ({start:,.1f} to {stop:,.1f} s){values}, and no name says which are the signal: "
        f"{paths}. Pass --series {names}."
    )


def _shortest(contents: NwbIndex, response: Response) -> str:
    """The end of a path that names this series alone in the file."""
    path = response.series.path
    parts = path.strip("/").split("/")
    others = [item.path for item in contents.of_type("RoiResponseSeries") if item.path != path]
    ends = ("/".join(parts[-length:]) for length in range(1, len(parts) + 1))
    return next(
        (end for end in ends if not any(other.endswith(f"/{end}") for other in others)), path
    )


def _components(contents: NwbIndex, chosen: Sequence[Response]) -> list[list[Response]]:
    """Series that belong together: on one clock, or with ROIs in common."""
    groups: list[list[Response]] = []
    for response in chosen:
        joined = [response]
        for group in list(groups):
            if any(_belong_together(response, other) for other in group):
                groups.remove(group)
                joined = group + joined
        groups.append(joined)
    return groups


def _belong_together(response: Response, other: Response) -> bool:
    if response.numbered or other.numbered:
        return _share_rois(response, other)
    one_clock = np.array_equal(response.timestamps, other.timestamps, equal_nan=True)
    return one_clock or _share_rois(response, other)


def _joined(contents: NwbIndex, members: Sequence[Response]) -> Response:
    """ROIs of one clock side by side, then runs one after another."""
    clocks: list[list[Response]] = []
    for member in sorted(members, key=lambda one: one.start):
        same = (
            group
            for group in clocks
            if np.array_equal(group[0].timestamps, member.timestamps, equal_nan=True)
        )
        group = next(same, None)
        if group is None:
            clocks.append([member])
        else:
            group.append(member)
    runs = [responses.side_by_side(sorted(group, key=_preference)) for group in clocks]
    for run in runs:
        if len(run.paths) > 1:
            reason = f"hold {len(run.rows)} ROIs of one table together, and are read as one"
            contents.note("united-series", ", ".join(run.paths), reason)
    if len(runs) == 1:
        return runs[0]
    return _in_time(contents, runs)


def _in_time(contents: NwbIndex, runs: Sequence[Response]) -> Response:
    paths = ", ".join(path for run in runs for path in run.paths)
    every = set.union(*(set(run.rows.tolist()) for run in runs))
    rows = np.array([row for row in runs[0].rows if all(row in run.rows for run in runs)])
    spans = ", ".join(run.span() for run in runs[:4]) + (", …" if len(runs) > 4 else "")
    if len(rows) < min(2, len(every)):
        names = " or ".join(_shortest(contents, run) for run in runs)
        raise NoActivityError(
            f"{contents.file_name} has runs ({spans}) with {len(rows)} ROIs in common: {paths}. "
            f"Pass --series {names}."
        )
    guessed = any(run.numbered for run in runs)
    reason = f"{len(runs)} runs of the same ROIs, joined in time: {spans}"
    if guessed:
        reason += "; they name no ROIs, so that these are equally many is all that is known"
    joined = responses.one_after_another(runs, rows, SAME_TIME)
    num_twice = sum(len(run.timestamps) for run in runs) - len(joined.timestamps)
    if num_twice:
        reason += f"; {num_twice:,} frames at times that an earlier run holds are left out"
    contents.note("joined-runs", paths, reason, important=guessed)
    if len(rows) < len(every):
        reason = f"{len(rows)} of {len(every)} ROIs are in every run; the others are left out"
        contents.note("rois-of-some-runs", paths, reason, important=True)
    rates = [1 / run.interval for run in runs]
    if max(rates) > (1 + RATES_DIFFER) * min(rates):
        reason = (
            f"runs have {min(rates):.4g} to {max(rates):.4g} frames per second; --bin-width "
            f"{1 / min(rates):.3g} or more gives them equal steps, --series NAME takes one"
        )
        contents.note("uneven-frames", paths, reason, important=True)
    return joined
