"""Events as covariates: causal bumps in the time since each event."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from small import poisson_spikes, rois, trial_table, units

from nwbdyn import baselines, fit
from nwbdyn.cli import main
from nwbdyn.data import events, splits
from nwbdyn.data.binning import bin_recording
from nwbdyn.data.clock import frames, grid
from nwbdyn.errors import DataError

CLOCK = grid(0, 300, 0.020)


def by_hand(times, clock):
    """The formula, one event, bin and bump after the other."""
    width = clock.bin_width
    span = max(events.SPAN, events.SPAN_BINS * width)
    centres = np.linspace(np.log(width), np.log(span + width), events.NUM_BUMPS)
    apart = centres[1] - centres[0]
    total = np.zeros((len(clock), events.NUM_BUMPS))
    for time in times:
        for k, until in enumerate(clock.until):
            for j, centre in enumerate(centres):
                if until >= time:
                    phase = (np.log(until - time + width) - centre) * np.pi / (2 * apart)
                    total[k, j] += (1 + np.cos(np.clip(phase, -np.pi, np.pi))) / 2
    return total


@settings(deadline=None, max_examples=30)
@given(times=st.lists(st.floats(-2.0, 8.0), max_size=6))
def test_bumps_are_those_of_the_formula(times):
    np.testing.assert_allclose(
        events.bumps(np.array(times), CLOCK), by_hand(times, CLOCK), atol=2e-6
    )


def test_bumps_on_native_frames_follow_the_frames():
    clock = frames(np.sort(np.random.default_rng(0).uniform(0, 60, 100)))
    times = np.array([5.0, 31.2, 31.3])
    np.testing.assert_allclose(events.bumps(times, clock), by_hand(times, clock), atol=2e-6)


@pytest.mark.parametrize("moment", [1.0, 1.0199, 1.02, 2.5])
def test_no_bin_knows_an_event_before_it_happens(moment):
    column = events.bumps(np.array([moment]), CLOCK)
    assert not column[CLOCK.until < moment].any()
    first = int(np.argmax(column.any(axis=1)))
    assert CLOCK.begin[first] <= moment <= CLOCK.until[first] + 1e-9


def test_many_events_are_added_up_in_pieces(monkeypatch):
    times = np.random.default_rng(0).uniform(0, 6, 50)
    whole = events.bumps(times, CLOCK)
    monkeypatch.setattr(events, "TOGETHER", 7)
    np.testing.assert_allclose(events.bumps(times, CLOCK), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([-1.0, 2.0, -1.0, np.nan], -1.0),
        ([-1.0, 2.0, 3.0], None),  # once
        ([-1.0, -1.0, -0.5, 2.0], None),  # other negative times too
        ([0.0, 0.0, 2.0], None),
        ([], None),
    ],
)
def test_a_marker_is_a_negative_time_that_repeats_where_no_other_is_negative(times, expected):
    assert events.marker(np.array(times)) == expected


def test_a_marker_in_a_column_of_times_is_no_event_and_noted_above_all(recording):
    recording.trials["reward_time"] = [-1.0, 2.5, -1.0]
    binned, columns = columns_of(recording, "trials.reward_time")
    (note,) = [note for note in binned.notes if note.code == "invalid-events"]
    assert note.important
    assert note.reason.startswith("2 of 3 events are at exactly -1 s, a marker")
    recording.trials["reward_time"] = [np.nan, 2.5, np.nan]
    _, alone = columns_of(recording, "trials.reward_time")
    assert all(np.array_equal(columns[name], alone[name]) for name in columns)


@pytest.fixture
def recording():
    trials = trial_table([1.0, 2.0, 3.0], 0.9, choice=["left", "right", "left"])
    trials["go_cue_time"] = [1.3, np.nan, 3.4]
    trials["code"] = [1000.0, 2000.0, 1000.0]
    licks = pd.DataFrame({"start_time": [1.5, 1.6], "stop_time": [1.5, 1.6]})
    made = units([[0.1, 2.0, 3.9], [0.5, 1.0]], trials=trials)
    made.intervals["licks"] = licks
    made.intervals["licks.left"] = licks[:1]
    return made


def columns_of(recording, name):
    binned = bin_recording(recording, bin_width=0.020, covariates=[name])
    return binned, dict(zip(binned.covariate_names, binned.covariates.T, strict=True))


def moments(recording, name, times, label):
    binned, actual = columns_of(recording, name)
    clock = grid(round(binned.time[0] / 0.020 - 0.5), binned.num_bins, 0.020)
    for bump, expected in enumerate(by_hand(times, clock).T):
        np.testing.assert_allclose(actual[f"{label}[{bump}]"], expected, atol=2e-6)


def test_a_table_stands_for_where_its_rows_start(recording):
    moments(recording, "licks", [1.5, 1.6], "licks")
    moments(recording, "trials", [1.0, 2.0, 3.0], "trials")


def test_a_column_of_times_can_be_named_and_unknown_times_are_no_events(recording):
    moments(recording, "trials.go_cue_time", [1.3, 3.4], "trials.go_cue_time")


def test_the_values_of_a_column_are_kinds_of_event(recording):
    moments(recording, "trials:choice", [1.0, 3.0], "trials:choice=left")
    moments(recording, "trials:choice", [2.0], "trials:choice=right")
    name = "trials.go_cue_time:code"
    moments(recording, name, [1.3, 3.4], f"{name}=1000.0")
    assert not any("2000" in label for label in columns_of(recording, name)[1])


def test_the_longest_table_of_a_name_is_meant(recording):
    moments(recording, "licks.left", [1.5], "licks.left")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "lick",
            "no covariate 'lick'; there are: none; tables of events: licks, licks.left, trials",
        ),
        ("trials.side", "no column 'side'; there are: start_time"),
        ("trials:side", "no column 'side'"),
        ("trials.choice", "'choice' holds no times"),
        ("trials.code", "holds 1000, and the rows last from 1.0 to 3.9 s"),
    ],
)
def test_a_name_that_means_no_events_is_refused_with_what_there_is(recording, name, message):
    with pytest.raises(DataError) as caught:
        bin_recording(recording, covariates=[name])
    assert message in str(caught.value)


def test_a_column_of_measurements_is_no_column_of_kinds(recording):
    many = trial_table(np.arange(20), 0.5, contrast=np.linspace(0, 1, 20))
    with pytest.raises(DataError, match="'contrast' has 20 different values; 1 to 12"):
        bin_recording(units(poisson_spikes(2, 20), trials=many), covariates=["trials:contrast"])


# ---------------------------------------------------------------- common input


def driven(seed, num_neurons=24, num_frames=4000):
    """A sparse linear network at 20 Hz; a cue drives most neurons, each after its own delay."""
    random = np.random.default_rng(seed)
    weights = 0.12 * random.choice([-1, 1], (num_neurons, num_neurons))
    weights *= random.random(weights.shape) < 0.08
    np.fill_diagonal(weights, 0.5)
    time = np.arange(num_frames) * 0.05
    cues = np.cumsum(random.uniform(1.0, 4.0, len(time)))
    cues = cues[cues < time[-1]]
    delays = random.uniform(0.05, 0.6, num_neurons)
    gains = random.uniform(1.0, 2.0, num_neurons) * (random.random(num_neurons) < 0.7)
    since = np.clip(time[:, None, None] - cues[:, None] - delays, 0, None) / 0.1  # (T, cues, N)
    drive = gains * (since * np.exp(1 - since)).sum(axis=1)
    values = np.zeros((num_frames, num_neurons))
    for t in range(1, num_frames):
        noise = 0.5 * random.normal(size=num_neurons)
        values[t] = weights @ values[t - 1] + drive[t] + noise
    made = rois(values, time)
    made.intervals["cues"] = pd.DataFrame({"start_time": cues, "stop_time": cues})
    return made, weights


def false_edges(recording, weights, names, baseline="VAR ridge"):
    """Share of the strongest couplings, as many as there really are, that do not exist."""
    binned = bin_recording(recording, covariates=names)
    split = splits.make(binned, seed=0, hold_out=False, gap=5)
    fitted = baselines.next_bin(binned, split, context=5, horizon=1)[baseline].coupling
    off = ~np.eye(len(weights), dtype=bool)
    strongest = np.argsort(-np.abs(fitted[off]))[: int(np.count_nonzero(weights[off]))]
    return float(np.mean(weights[off][strongest] == 0))


def test_events_as_input_cut_the_edges_that_common_input_fakes():
    networks = [driven(seed) for seed in range(4)]
    unknown = np.mean([false_edges(*network, []) for network in networks])
    known = np.mean([false_edges(*network, ["cues"]) for network in networks])
    assert unknown > 0.25  # .32 when this was written, and .08 where the cue is an input
    assert known < unknown / 2


@pytest.mark.slow
@pytest.mark.parametrize("model", ["netformer", "synapsnet"])
def test_models_take_events_as_the_baselines_do(model):
    recording, _ = driven(0, num_neurons=8, num_frames=1500)
    fitted = fit(recording, model, covariates=["cues"], epochs=1)
    assert fitted.binning["covariates"] == [f"cues[{bump}]" for bump in range(events.NUM_BUMPS)]


def test_the_command_line_names_what_there_is(tmp_path):
    arguments = ["fit", "sample:cortex?neurons=8&duration=60", "--model", "netformer"]
    done = CliRunner().invoke(main, [*arguments, "--events", "licks", "-o", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert "no covariate 'licks'" in done.output
    assert "tables of events: " in done.output
