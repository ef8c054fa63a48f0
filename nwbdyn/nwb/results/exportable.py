"""Faults of a recording that an export would refuse, noted before anything is trained."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd

from nwbdyn.errors import ResultsError
from nwbdyn.recording import Note, Recording

AGE_REFERENCES = ("birth", "gestational")


def notes(recording: Recording) -> list[Note]:
    """One note for each reason why a fit of this recording cannot be exported as it is."""
    notes_ = [_of_ids(recording), _of_start(recording), *_of_subject(recording.subject)]
    return [
        Note("not-exportable", where, f"{reason} A fit works, `export` will not", important=True)
        for where, reason in (one for one in notes_ if one is not None)
    ]


def noted(recording: Recording) -> Recording:
    """Add these notes to a recording."""
    return replace(recording, notes=(*recording.notes, *notes(recording)))


def session_start(text: str, file: str) -> datetime:
    """The session's start as an NWB file states it.

    Raises:
        ResultsError: there is none, or it is not ISO 8601.
    """
    if not text:
        raise ResultsError(
            f"{file} states no session_start_time, which every NWB file needs. Correct the source "
            "and fit again."
        )
    return moment(text, "session_start_time")


def moment(text: str, what: str) -> datetime:
    """A moment of the source in ISO 8601, UTC where it states no time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ResultsError(
            f"The source's {what} is {text!r}, expected ISO 8601. Correct the source and fit again."
        ) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def check_age_reference(subject: Mapping[str, object]) -> None:
    """Raise ResultsError unless `age__reference` is one of those that NWB knows."""
    stated = subject.get("age__reference")
    if stated and stated not in AGE_REFERENCES:
        raise ResultsError(
            f"The source's age__reference is {stated!r}, expected {' or '.join(AGE_REFERENCES)}. "
            "Correct the source and fit again."
        )


def _of_ids(recording: Recording) -> tuple[str, str] | None:
    ids = pd.Index(recording.neurons.ids)
    if ids.is_unique:
        return None
    again = ids[ids.duplicated()][0]
    reason = f"several neurons have the id {again}; give every row of the table another id."
    return f"{recording.neurons.table_path or 'neurons'}/id", reason


def _of_start(recording: Recording) -> tuple[str, str] | None:
    try:
        session_start(recording.session_start_time, recording.source.name)
    except ResultsError as error:
        return "/session_start_time", str(error)
    return None


def _of_subject(subject: Mapping[str, str]) -> list[tuple[str, str]]:
    notes_ = []
    try:
        if subject.get("date_of_birth"):
            moment(subject["date_of_birth"], "date of birth")
    except ResultsError as error:
        notes_.append(("/general/subject/date_of_birth", str(error)))
    try:
        check_age_reference(subject)
    except ResultsError as error:
        notes_.append(("/general/subject/age__reference", str(error)))
    return notes_
