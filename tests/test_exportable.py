"""Warnings, before training, of what an export would refuse."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_fits import imaging

from nwbdyn.errors import NwbdynError
from nwbdyn.fitting.fit import fit
from nwbdyn.nwb.results import exportable
from nwbdyn.workflows.export import export

TINY = {"context": 4, "hidden": 8, "batch_size": 256}


def repeated(recording):
    table = pd.DataFrame({"id": np.array([1, 2, 3, 3, 4, 5])})
    return replace(recording, neurons=replace(recording.neurons, table=table))


def with_subject(**fields):
    return lambda recording: replace(recording, subject={**recording.subject, **fields})


REFUSED = {
    "repeated ids": (repeated, "the id 3"),
    "no start": (lambda recording: replace(recording, session_start_time=""), "session_start_time"),
    "start in words": (
        lambda recording: replace(recording, session_start_time="yesterday"),
        "'yesterday', expected ISO 8601",
    ),
    "birth in words": (with_subject(date_of_birth="soon"), "'soon', expected ISO 8601"),
    "age from nowhere": (with_subject(age__reference="noon"), "'noon', expected birth"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_reason_for_which_export_refuses_is_warned_of_before_training(case, caplog, tmp_path):
    change, words = REFUSED[case]
    recording = change(imaging(6, 300))
    stages = []

    def report(progress):
        if not stages:
            assert words in caplog.text
        stages.append(progress.stage)

    made = fit(recording, "synapsnet", epochs=1, options=TINY, report=report)
    assert stages
    assert [note.code for note in made.notes if note.important] == ["not-exportable"]
    with pytest.raises(NwbdynError):
        export(made, tmp_path / "out.nwb")


def test_a_recording_that_can_be_exported_has_no_such_note(tmp_path):
    recording = imaging(6, 300)
    assert exportable.notes(recording) == []
    made = fit(recording, "synapsnet", epochs=1, options=TINY)
    assert export(made, tmp_path / "out.nwb").exists()
