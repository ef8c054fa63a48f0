"""A(t) with one matrix per state: when it is used, what it is, and that files keep it."""

import numpy as np
import pytest
from test_baselines import binned_of, split_of
from test_state_stage import FRAMES, LENGTH, TIMES, changing

import nwbdyn
from nwbdyn.baselines import autoregression
from nwbdyn.baselines.ladder import climb
from nwbdyn.baselines.ladder.climbing import data_of
from nwbdyn.baselines.ladder.gated import gated_coupling
from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.evaluation import verdict
from nwbdyn.fitting.stages import state_gate
from nwbdyn.nwb.results.open_results import open_results
from nwbdyn.results import fit_results
from nwbdyn.results.sections.state_gate import StateMatrices
from nwbdyn.workflows.export import export

CORE = {"preset": "ladder", "own_part": False}
STATE = np.arange(FRAMES) // LENGTH % 2
PART_OF_THE_TIME = ",".join(TIMES.split(",")[:-2])  # the last 20 seconds are in no state


@pytest.fixture(scope="module")
def fitted():
    return nwbdyn.fit(changing(), "netformer", options=CORE, states=PART_OF_THE_TIME)


def test_a_coupling_that_flips_has_one_matrix_per_state(fitted):
    section, coupling = fitted.metrics["state_gate"], fitted.connectivity
    assert section["used"]
    assert section["gain"]["above"]
    assert section["test_gain"]["mean"] > 0.01
    assert coupling.form == "states"
    rest, run = (coupling.at(one).to_numpy() for one in (25.0, 15.0))
    assert run[1, 0] - rest[1, 0] == pytest.approx(-1.0, abs=0.3)  # a ridge shrinks it
    others = ~np.eye(4, dtype=bool)
    others[1, 0] = False
    assert np.abs((run - rest)[others]).max() < 0.1
    none = coupling.at(FRAMES / 10 - 5).to_numpy()
    assert ((rest < none) & (none < run) | (run < none) & (none < rest))[1, 0]
    course = coupling.over_time(100, 101).to_numpy()[:, 0]
    assert len(np.unique(course)) == 3
    message = verdict.sentences(fitted.metrics, "netformer")
    assert any(one.startswith("A(t) has one matrix per state.") for one in message)


def test_a_constant_coupling_stays_constant():
    made = nwbdyn.fit(changing(flips=False), "netformer", options=CORE, states=TIMES)
    section = made.metrics["state_gate"]
    assert (section["used"], made.connectivity.form) == (False, "static")
    (message,) = StateMatrices.from_metrics(made.metrics).sentences()
    assert message == f"A(t) does not follow the states: {section['why_not']}."


@pytest.mark.parametrize(
    ("supported", "above", "constant", "reason"),
    [
        (True, True, True, ""),
        (False, True, True, "the test of states supports no difference"),
        (True, False, True, "a difference between states does not gain on validation"),
        (True, True, False, "the model's own part is kept, which follows the activity"),
    ],
)
def test_a_matrix_per_state_needs_the_test_and_validation(supported, above, constant, reason):
    assert state_gate.why_not(supported=supported, above=above, constant=constant) == reason


def test_matrices_per_state_are_saved_exported_and_opened(fitted, tmp_path):
    run = fitted.save(tmp_path / "run")
    back = fit_results.load(run).connectivity
    file = tmp_path / "results.nwb"
    export(run, file)
    with open_results(file) as results:
        opened = results.connectivity
        assert opened.form == "states"
        assert opened.attributes["states"].split("\n") == ["rest", "run", "no state"]
        for time in (15.0, 25.0, FRAMES / 10 - 5):
            expected = fitted.connectivity.at(time).to_numpy()
            for one in (back, opened):
                np.testing.assert_array_equal(one.at(time).to_numpy(), expected)


def drive_that_differs(seed=0):
    """Independent neurons whose own memory and noise differ between two states."""
    draw = np.random.default_rng(seed)
    x = np.zeros((FRAMES, 4))
    for t in range(1, FRAMES):
        x[t] = (0.2, 0.8)[STATE[t]] * x[t - 1] + (1.0, 2.0)[STATE[t]] * draw.normal(size=4)
    return x


def rung_of(activity):
    binned = binned_of(activity)
    problem = build_lagged_design(binned, split_of(FRAMES, 4, gap=8), 8, 1)
    ladder = climb(binned, problem, autoregression.best(problem), to="M2")
    data = data_of(binned, problem, None, windowed=False)
    below = ladder["M2"].linear.astype(float)
    known = np.arange(FRAMES) >= 50
    gates = (STATE == 1)[:, None].astype(float)
    return gated_coupling(data, below, gates, known), problem, below


def test_own_dynamics_that_differ_between_states_are_no_change_of_coupling():
    rung, problem, below = rung_of(drive_that_differs())
    assert not rung.gain.above
    assert (rung.weights == 0).all()
    observed = problem.targets(problem.val)
    errors = [np.square(observed - one[problem.val]).mean() for one in (rung.lower, below)]
    assert errors[0] < 0.98 * errors[1]  # gated own dynamics are used


def test_gates_are_those_of_the_bin_that_is_seen_last():
    rung, problem, _ = rung_of(np.asarray(changing().activity.data))
    seen = problem.train[problem.train > 50] - 1
    mean = (STATE[seen] == 1).mean()
    np.testing.assert_allclose(rung.gates[50:, 0], (STATE == 1)[50:] - mean)
    assert (rung.gates[:50] == 0).all()
    added = (rung.linear - rung.lower)[problem.rows]
    seen = problem.signals[problem.rows - 1, :4].astype(float)
    sent = np.einsum("t,ij,tj->ti", rung.gates[problem.rows - 1, 0], rung.weights[0], seen)
    rest = added - sent  # own terms beside coupling: constant, lags, times the gate
    for neuron in range(4):
        gate = rung.gates[problem.rows - 1, 0]
        lags = [problem.signals[problem.rows - 1 - lag, neuron] for lag in range(3)]
        own = np.column_stack([np.ones(len(gate)), gate, *[gate * lag for lag in lags]])
        left = rest[:, neuron] - own @ np.linalg.lstsq(own, rest[:, neuron], rcond=None)[0]
        assert np.abs(left).max() < 1e-4
