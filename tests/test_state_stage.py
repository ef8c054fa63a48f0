"""`--states`: where states come from, what is refused at once, and what a fit says of a change."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import small_fits
from click.testing import CliRunner

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.fitting.stages import state_change_test
from nwbdyn.recording import Traces
from nwbdyn.results import fit_results
from nwbdyn.results.sections.states import StateDifferences
from nwbdyn.statistics import states
from nwbdyn.statistics.state_change import StateChange

LENGTH, FRAMES = 100, 2400
QUICK = {"hidden": 4, "context": 2, "updates": 5}
TIMES = ",".join(
    f"{('rest', 'run')[k % 2]}={10 * k}-{10 * (k + 1)}" for k in range(FRAMES // LENGTH)
)


def changing(*, flips: bool = True):
    """Four neurons at 10 Hz; what neuron 100 sends flips with the state, every 10 seconds."""
    draw = np.random.default_rng(0)
    x = np.zeros((FRAMES, 4))
    for t in range(1, FRAMES):
        weight = np.zeros((4, 4))
        weight[[1, 1, 2], [0, 3, 3]] = 0.5
        if flips and t // LENGTH % 2:
            weight[1, 0] = -0.5
        x[t] = 0.3 * x[t - 1] + weight @ x[t - 1] + draw.normal(size=4)
    traces = Traces(x.astype(np.float32), np.arange(FRAMES) / 10, "dff")
    return replace(small_fits.imaging(4, 50), activity=traces)


@pytest.fixture(scope="module")
def fitted():
    return nwbdyn.fit(changing(), "synapsnet", options=QUICK, states=TIMES)


def test_the_edge_that_changes_is_named_with_its_states(fitted, tmp_path):
    changed = edge_table.changes(fitted.edges)
    called = changed[changed["q"] <= 0.05]
    assert called[["pre_id", "post_id"]].to_numpy().tolist() == [[100, 101]]
    assert called["weight"].iloc[0] == pytest.approx(-1.0, abs=0.2)  # -.5 less .5
    assert set(changed["state"]) == {"run - rest"}
    actual = fitted.metrics["states"]
    assert (actual["pattern"], actual["supported"], actual["why_not"]) == (True, True, "")
    assert actual["num_blocks"] == [12, 12]
    assert actual["num_significant"] == 1
    (sentence,) = StateDifferences.from_metrics(fitted.metrics).sentences()
    assert sentence.startswith("Coupling differs between rest, run in its pattern")
    back = fit_results.load(fitted.save(tmp_path / "run"))
    assert edge_table.changes(back.edges)["q"].tolist() == changed["q"].tolist()
    assert back.request.tests.states == fitted.environment["asked"]["states"] == TIMES


def test_a_constant_coupling_is_not_supported():
    made = nwbdyn.fit(changing(flips=False), "synapsnet", options=QUICK, states=TIMES)
    actual = made.metrics["states"]
    assert not actual["supported"]
    assert actual["why_not"].startswith("pattern p = ")
    assert "states-alike" in [note.code for note in made.notes]
    (sentence,) = StateDifferences.from_metrics(made.metrics).sentences()
    assert sentence.endswith(f"not supported: {actual['why_not']}.")


def change(pattern: float, gain: float, not_tested: str = "") -> StateChange:
    q = np.full((2, 2, 2), 0.01)
    return StateChange(
        names=("rest", "run"),
        pattern_p=pattern,
        gain_p=gain,
        change=np.where(np.eye(2, dtype=bool), np.nan, np.ones((2, 2, 2))),
        se=np.ones((2, 2, 2)),
        p=q,
        q=np.where(np.eye(2, dtype=bool), np.nan, q),
        colour_p=np.ones(2),
        num_blocks=(10, 10),
        not_tested=not_tested,
    )


@pytest.mark.parametrize(
    ("actual", "counts", "supported", "why_not", "p"),
    [
        (change(0.01, 0.5), False, True, "", 0.02),
        (change(0.5, 0.01), False, True, "", 0.02),
        (change(0.5, 0.01), True, False, "pattern p = 0.5, gain p = 0.01; of spike counts", 0.02),
        (change(0.01, 0.01), True, True, "", 0.02),
        (change(0.4, 0.8), False, False, "pattern p = 0.4, gain p = 0.8", 0.8),
        (change(0.9, 0.8), False, False, "pattern p = 0.9, gain p = 0.8", 1.0),
        (change(0.01, 0.01, "coloured"), False, False, "coloured", np.nan),
    ],
)
def test_which_change_is_supported(actual, counts, supported, why_not, p):
    summary = state_change_test.summary_of(actual, counts=counts)
    assert summary.supported is supported
    assert summary.why_not.startswith(why_not)
    assert bool(summary.why_not) is not supported
    assert summary.p == pytest.approx(p, nan_ok=True)
    assert summary.num_significant == (None if actual.not_tested else 2)
    tables = state_change_test.tables_of(actual, small_fits.imaging(2, 50).neurons)
    assert len(tables) == (0 if actual.not_tested else 1)


def test_a_state_that_the_split_holds_in_one_part_is_named():
    labels = np.array([0, 0, 0, 1, 2, 2], np.int8)
    state = np.array([0, 0, 1, 1, 1, -1])
    (note,) = state_change_test.parts_without(state, labels, ("rest", "run"))
    assert note.important
    assert "no bin of state 'rest' in val and test" in note.reason


def test_states_come_from_times_and_from_a_csv_file(tmp_path):
    path = tmp_path / "states.csv"
    path.write_text("start_time, stop_time, label\n0,10,rest\n10,25.5,run\n")
    assert states.resolved(str(path)) == "rest=0.0-10.0,run=10.0-25.5"
    assert states.resolved("sleep:stage") == "sleep:stage"
    table = states.of_recording(small_fits.imaging(2, 50), str(path))
    assert table["state"].tolist() == ["rest", "run"]
    assert table["stop_time"].tolist() == [10.0, 25.5]
    signed = states.of_recording(small_fits.imaging(2, 50), "a=-5.5--1,b=0-1e2")
    assert signed["start_time"].tolist() == [-5.5, 0.0]
    assert signed["stop_time"].tolist() == [-1.0, 100.0]


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("rest=0-10,run", "'run' is no NAME=START-STOP"),
        ("rest=10-0,run=10-20", "rest ends at 0 s, and starts at 10 s"),
        ("rest=0-10,rest=20-30", "names 1 state; 2 to 6"),
        ("rest=0-10,run=5-20", "rest and run overlap at 5 s"),
        ("nothing.csv", "there is no file nothing.csv"),
    ],
)
def test_states_that_cannot_be_read_are_refused(requested, message):
    with pytest.raises(ConfigError, match=message):
        states.of_recording(small_fits.imaging(2, 50), requested)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,stop,label\n0,1,a\n", "has the columns start, stop, label; start_time"),
        ("start_time,stop_time,label\n0,1,a=b\n", "without '=' and ','"),
        ("start_time,stop_time,label\nsoon,1,a\n", "Times are seconds"),
        ("start_time,stop_time,label\n", "labels are needed"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_csv_file_of_another_form_is_refused(text, message, tmp_path):
    path = tmp_path / "states.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        states.resolved(str(path))


def test_what_cannot_be_tested_is_refused_before_training(tmp_path, monkeypatch):
    def trained(*what, **more):
        raise AssertionError("trained")

    monkeypatch.setattr("nwbdyn.fitting.train_models.train_seeds", trained)
    few = "rest=0-100,run=100-200"
    with pytest.raises(DataError, match="State 'rest' has 1 unbroken period; the test needs 10"):
        nwbdyn.fit(changing(), "synapsnet", options=QUICK, states=few)
    with pytest.raises(ConfigError, match="stndt has none"):
        nwbdyn.fit(small_fits.units(), "stndt", states="rest=0-10,run=10-20")
    monkeypatch.setattr(state_change_test, "MOST_NEURONS", 3)
    with pytest.raises(ConfigError, match="4 neurons are more than the 3"):
        nwbdyn.fit(changing(), "synapsnet", options=QUICK, states=TIMES)
    call = ["fit", str(tmp_path / "none.nwb"), "--model", "stndt", "--states", few]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2
    assert "stndt has none" in done.output


def test_of_three_states_each_is_set_against_the_others():
    actual = replace(
        change(0.01, 0.5),
        names=("a", "b", "c"),
        **{name: np.ones((3, 2, 2)) for name in ("change", "se", "p", "q")},
    )
    tables = state_change_test.tables_of(actual, small_fits.imaging(2, 50).neurons)
    assert [set(table["state"]) for table in tables] == [
        {"a - others"},
        {"b - others"},
        {"c - others"},
    ]
    assert pd.concat(tables)["lag"].eq(1).all()
