"""A named column, series or unit that does not exist is an error."""

import h5py
import numpy as np
import pandas as pd
import pytest
from nwb_files import behaviour, noted, nwb, opened, series, units
from small import poisson_spikes
from small import units as small_units
from small_fits import SMALL_STNDT

from nwbdyn.data.binning import bin_recording
from nwbdyn.data.flags import flags
from nwbdyn.data.splits import stated_held_out
from nwbdyn.errors import DataError
from nwbdyn.fitting.task import build_task
from nwbdyn.recording import Covariate
from nwbdyn.request import DataOptions

SECONDS, NUM_UNITS = 60.0, 12
TRACK = np.stack([np.linspace(0, 10, 1800), np.linspace(5, 8, 1800)])  # x and y at 30 Hz


def file_with(path, data, *, kind="TimeSeries", comments=None, **clock):
    with nwb(path) as file:
        units(file, spikes=poisson_spikes(NUM_UNITS, SECONDS, rate=8.0))
        made = series(behaviour(file), "pos", data, kind=kind, **(clock or {"rate": 30.0}))
        if comments is not None:
            made.attrs["comments"] = comments
    return path


@pytest.mark.parametrize(
    ("more", "is_turned"),
    [
        ({"kind": "SpatialSeries"}, True),
        ({"comments": "columns=[x, y]"}, True),
        ({}, True),  # two samples at 30 Hz last .07 s
        ({"timestamps": np.arange(1800) / 30}, True),
        ({"timestamps": np.arange(1800)[None] / 30}, True),  # MATLAB's row
        ({"rate": 0.01}, False),  # two samples of 100 s each may be meant
    ],
)
def test_a_signal_stored_channels_first_is_turned_where_that_is_clear(more, is_turned, tmp_path):
    path = file_with(tmp_path / "a.nwb", TRACK, **more)
    with opened(path) as recording:
        assert recording.covariate("pos").data.shape == ((1800, 2) if is_turned else (2, 1800))
        assert ("transposed" in noted(recording)) == is_turned
        if is_turned:
            binned = bin_recording(recording, bin_width=0.1, covariates=["pos"])
            assert binned.covariates.shape[1] == 2
            # the last sample before the end of the bin at 30 s, 899 of 1800
            assert binned.covariates[300, 0] == pytest.approx(TRACK[0, 902], abs=0.02)


@pytest.mark.parametrize("shape", [(1800, 2), (300, 40), (60, 3)])
def test_a_signal_stored_time_first_stays_as_it_is(shape, tmp_path):
    data = np.random.default_rng(0).normal(size=shape)
    with opened(file_with(tmp_path / "a.nwb", data, kind="SpatialSeries")) as recording:
        assert recording.covariate("pos").data.shape == shape


def test_a_covariate_whose_times_do_not_fit_is_refused_with_what_is_wrong(tmp_path):
    path = file_with(tmp_path / "a.nwb", TRACK.T, timestamps=np.arange(1700) / 30)
    with opened(path) as recording, pytest.raises(DataError, match="1700 times for 1800 samples"):
        bin_recording(recording, covariates=["pos"])


def covering(first, last, values=None):
    times = np.linspace(first, last, 601)
    data = np.sin(times) if values is None else np.full(601, values)
    speed = Covariate("speed", data[:, None], times)
    return small_units(poisson_spikes(3, SECONDS, rate=8.0), covariates=(speed,))


def test_a_covariate_outside_the_recording_is_refused_with_both_spans():
    with pytest.raises(DataError, match=r"601 samples are from 1000 to 1060 s, the bins from 0"):
        bin_recording(covering(1000.0, 1060.0), covariates=["speed"])


@pytest.mark.parametrize(("last", "important"), [(60.0, None), (50.0, False), (20.0, True)])
def test_a_covariate_of_less_than_half_the_recording_is_an_important_note(last, important):
    binned = bin_recording(covering(0.0, last), bin_width=0.1, covariates=["speed"])
    actual = {note.code: note.important for note in binned.notes}
    assert actual == ({} if important is None else {"covariate-gaps": important})


def test_a_covariate_that_never_changes_is_an_important_note():
    binned = bin_recording(covering(0.0, 60.0, values=2.0), bin_width=0.1, covariates=["speed"])
    assert [(n.code, n.important) for n in binned.notes] == [("constant-covariate", True)]


def test_events_outside_the_recording_are_refused():
    recording = small_units(poisson_spikes(3, SECONDS, rate=8.0))
    licks = pd.DataFrame({"start_time": [1000.0, 1001.0], "stop_time": [1000.0, 1001.0]})
    recording.intervals["licks"] = licks
    with pytest.raises(DataError, match=r"all 2 events, from 1000 to 1001 s, lie outside"):
        bin_recording(recording, covariates=["licks"])


def test_one_kind_of_event_outside_the_recording_is_left_out_with_a_note():
    recording = small_units(poisson_spikes(3, SECONDS, rate=8.0))
    times = np.r_[np.arange(1.0, 50.0), 1000.0]
    cues = pd.DataFrame(
        {"start_time": times, "stop_time": times, "side": ["left"] * 49 + ["right"]}
    )
    recording.intervals["cues"] = cues
    binned = bin_recording(recording, covariates=["cues:side"])
    assert set(binned.covariate_names) == {f"cues:side=left[{k}]" for k in range(6)}
    assert [note.code for note in binned.notes] == ["all-nan"] * 6


def test_a_series_of_times_without_values_is_events(tmp_path):
    times = np.sort(np.random.default_rng(0).uniform(0, SECONDS, 50))
    path = file_with(tmp_path / "a.nwb", np.ones(50), timestamps=times)
    with h5py.File(path, "a") as file:
        del file["processing/behavior/pos/data"]
    with opened(path) as recording:
        assert recording.intervals["pos"]["start_time"].tolist() == times.tolist()
        assert bin_recording(recording, covariates=["pos"]).covariates.shape[1] == 6


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False, True], [True, False, True]),
        (["TRUE", "FALSE", "true"], [True, False, True]),
        (["yes", "No", ""], [True, False, False]),
        ([b"1", b"0", b"t"], [True, False, True]),
        ([1, 0, 1], [True, False, True]),
        ([1.0, 0.0, np.nan], [True, False, False]),
        (["held-in", "held-out", "held-in"], None),
        ([2, 0, 1], None),
    ],
)
def test_flags_are_read_in_any_spelling_or_not_at_all(values, expected):
    actual = flags(pd.Series(values, dtype=None if values[0] is not True else bool))
    assert actual is None if expected is None else actual.tolist() == expected


HELD_OUT = [False] * 6 + [True] * 6


@pytest.mark.parametrize(
    "spelled",
    [
        ["TRUE" if one else "FALSE" for one in HELD_OUT],
        ["yes" if one else "no" for one in HELD_OUT],
        [1.0 if one else np.nan for one in HELD_OUT],
        np.array(HELD_OUT, np.uint8),
    ],
)
def test_held_out_units_are_those_of_the_file_however_it_spells_them(spelled, tmp_path):
    path = tmp_path / "a.nwb"
    with nwb(path) as file:
        units(file, spikes=poisson_spikes(NUM_UNITS, SECONDS, rate=8.0), heldout=spelled)
    with opened(path) as recording:
        assert recording.neurons.table["heldout"].tolist() == HELD_OUT
        problem = build_task(
            recording, "stndt", seed=0, options=SMALL_STNDT, data=DataOptions(bin_width=0.1)
        )
        assert problem.held_out.tolist() == HELD_OUT
        assert problem.held_out_stated


def test_held_out_flags_that_are_neither_are_noted_and_refused_where_they_matter(tmp_path):
    path = tmp_path / "a.nwb"
    with nwb(path) as file:
        words = ["in"] * 6 + ["out"] * 6
        units(file, spikes=poisson_spikes(NUM_UNITS, SECONDS, rate=8.0), heldout=words)
    with opened(path) as recording:
        assert [n.code for n in recording.notes if n.important] == ["unclear-flags"]
        with pytest.raises(DataError, match="'heldout' holds 'in', 'out'; true or false"):
            build_task(
                recording, "stndt", seed=0, options=SMALL_STNDT, data=DataOptions(bin_width=0.1)
            )
        tiny = {"context": 4, "hidden": 8}
        assert (
            build_task(
                recording, "synapsnet", seed=0, options=tiny, data=DataOptions(bin_width=0.1)
            ).split
            is not None
        )


def test_a_file_that_holds_out_every_unit_is_noted(tmp_path):
    path = tmp_path / "a.nwb"
    with nwb(path) as file:
        units(file, spikes=poisson_spikes(4, SECONDS, rate=8.0), heldout=[True] * 4)
    with opened(path) as recording:
        assert [n.code for n in recording.notes if n.important] == ["unclear-flags"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (None, None),
        ([False, False], None),
        ([True, True], None),
        ([False, True], [False, True]),
        (["no", "yes"], [False, True]),
    ],
)
def test_which_neurons_the_file_holds_out(column, expected):
    table = pd.DataFrame({"id": [0, 1]} | ({} if column is None else {"heldout": column}))
    actual = stated_held_out(table)
    assert actual is None if expected is None else actual.tolist() == expected
