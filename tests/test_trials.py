"""Which rows are the trials: a table, or windows around the times in one of its columns."""

import numpy as np
import pandas as pd
import pytest
from small import poisson_spikes, trial_table, units

from nwbdyn.data.trials import with_trials
from nwbdyn.errors import DataError
from nwbdyn.fitting.task import build_task
from nwbdyn.request import DataOptions


@pytest.fixture
def recording():
    trials = trial_table([1.0, 4.0, 8.0], 2.0, choice=["left", "right", "left"])
    trials["cue"] = [1.5, np.nan, 9.25]
    made = units(poisson_spikes(3, 60), trials=trials, intervals=[(0.0, 60.0)])
    made.intervals["trials.late"] = trials[2:]
    made.intervals["none"] = trials[:0]
    return made


def spans(recording):
    return recording.trials[["start_time", "stop_time"]].to_numpy().tolist()


def test_a_table_is_taken_as_it_is(recording):
    assert with_trials(recording, "trials").trials.equals(recording.trials)
    assert spans(with_trials(recording, "trials.late")) == [[8.0, 10.0]]


def test_trials_may_begin_at_any_column_of_times(recording):
    aligned = with_trials(recording, "trials.cue")
    assert spans(aligned) == [[1.5, 3.0], [9.25, 10.0]]
    assert aligned.trials["choice"].tolist() == ["left", "left"]


def test_a_window_is_around_the_time(recording):
    assert spans(with_trials(recording, "trials.cue[-0.5, 1]")) == [[1.0, 2.5], [8.75, 10.25]]
    assert spans(with_trials(recording, "trials[0,0.5]")) == [[1, 1.5], [4, 4.5], [8, 8.5]]
    assert spans(with_trials(recording, "trials.late.cue[0,1]")) == [[9.25, 10.25]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("epochs", "no interval table 'epochs'; it has: none, trials, trials.late"),
        ("none", "is empty"),
        ("trials.side", "no column 'side'; there are: start_time"),
        ("trials.choice", "'choice' holds no times"),
        ("trials.cue[1,-1]", "the first the smaller one"),
        ("trials.cue[a,b]", "two numbers of seconds"),
        ("trials.stop_time", "none of 3 rows of 'trials' starts at its 'stop_time'"),
    ],
)
def test_what_are_no_trials_is_refused_with_the_next_step(recording, name, message):
    with pytest.raises(DataError) as caught:
        with_trials(recording, name)
    assert message in str(caught.value)


def test_a_recording_without_tables_says_that_there_is_nothing_to_align_to():
    with pytest.raises(DataError, match="no interval table 'led', and no other"):
        with_trials(units(poisson_spikes(3, 20), intervals=[(0.0, 20.0)]), "led")


def test_windows_of_a_model_are_cut_around_the_column(recording):
    starts = np.arange(2.0, 118.0, 2.0)
    trials = pd.DataFrame({"start_time": starts, "stop_time": starts + 1.5, "cue": starts + 0.5})
    made = units(poisson_spikes(12, 120), trials=trials, intervals=[(0.0, 120.0)])
    fit_task = build_task(
        made, "stndt", seed=0, data=DataOptions(bin_width=0.02, trials="trials.cue[-0.2,0.6]")
    )
    assert fit_task.aligned.observed == 40
    begin = fit_task.binned.time[fit_task.aligned.starts] - 0.01
    np.testing.assert_allclose(begin, starts + 0.3, atol=1e-9)
