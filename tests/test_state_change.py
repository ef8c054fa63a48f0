"""Change of coupling between states: gain and pattern apart, the colour guard, bad input."""

import numpy as np
import pytest

from nwbdyn.errors import DataError
from nwbdyn.statistics.state_change import StateChange, _without, state_change

NAMES = ("rest", "run")
STATE = np.arange(2000) // 50 % 2


def recorded(kind: str, seed: int = 0, num_bins: int = 2000) -> np.ndarray:
    """Six neurons; in the second state a sender flips, all weights halve, or noise differs."""
    draw = np.random.default_rng(seed)
    constant = np.array(
        [(0, 1, 0.3), (2, 1, 0.3), (0, 3, 0.3), (2, 5, -0.3), (3, 0, -0.3), (4, 5, 0.3)]
    )
    weight = np.zeros((6, 6))
    weight[constant[:, 0].astype(int), constant[:, 1].astype(int)] = constant[:, 2]
    other = weight.copy()
    if kind == "flip":
        other[:, 1] *= -1
    if kind == "gain":
        other *= 0.2
    x, coloured = np.zeros((num_bins, 6)), np.zeros(6)
    for t in range(1, num_bins):
        second = STATE[t % 2000] == 1
        noise = draw.normal(size=6)
        if kind == "white" and second:
            noise = 2 * noise + draw.normal() * np.arange(6) / 6
        if kind == "colour":
            coloured = 0.7 * coloured + draw.normal(size=6) * (1.5 if second else 0.2)
            noise = noise + coloured
        x[t] = 0.4 * x[t - 1] + (other if second else weight) @ x[t - 1] + noise
    return x


def judged(values: np.ndarray, state: np.ndarray = STATE, **others) -> StateChange:
    segment = np.zeros(len(values), dtype=int)
    return state_change(values, segment, state, NAMES, num_permutations=99, **others)


@pytest.mark.parametrize(
    ("kind", "pattern", "gain"),
    [
        ("flip", True, None),  # a flipped sender lowers a receiver's mean gain, too
        ("gain", False, True),
        ("constant", False, False),
        ("white", False, False),
    ],
)
def test_a_change_is_one_of_pattern_or_of_gain_or_none(kind, pattern, gain):
    actual = judged(recorded(kind))
    assert actual.not_tested == ""
    assert actual.pattern_changes == pattern
    assert gain is None or actual.gain_changes == gain


def test_the_edges_that_change_are_those_of_the_sender_that_flips():
    actual = judged(recorded("flip"))
    called = np.argwhere(actual.q[1] <= 0.05).tolist()
    assert called == [[0, 1], [2, 1]]
    for post in (0, 2):
        assert actual.change[1, post, 1] == pytest.approx(-0.6, abs=4 * actual.se[1, post, 1])
    assert np.allclose(actual.change[0], -actual.change[1])
    assert np.isnan(actual.q[:, np.arange(6), np.arange(6)]).all()


def test_a_drive_that_changes_its_colour_is_not_tested():
    actual = judged(recorded("colour"))
    assert "noise whose spectrum differs" in actual.not_tested
    assert np.isnan(actual.pattern_p)
    assert np.isnan(actual.q).all()
    assert not actual.pattern_changes
    assert not actual.gain_changes


def test_gaps_and_bins_without_a_state_end_a_dwell_block():
    values, state = recorded("flip"), STATE.copy()
    values[510:515] = np.nan  # inside a block of the first state
    state[850:900] = -1  # one block of the second
    actual = judged(values, state)
    assert actual.num_blocks == (21, 19)
    assert actual.pattern_changes


def test_the_change_is_that_of_least_squares_in_both_states():
    """With nearly linear own dynamics the difference of two regressions is the same."""
    values = recorded("flip")
    actual = judged(values)
    weights = []
    for k in (0, 1):
        rows = np.array([t for t in range(3, 2000) if STATE[t] == k])
        design = np.column_stack([np.ones(len(rows)), values[rows - 1]])
        weights.append(np.linalg.lstsq(design, values[rows], rcond=None)[0][1:].T)
    others = ~np.eye(6, dtype=bool)
    error = np.abs(weights[1] - weights[0] - actual.change[1])[others]
    assert (error < 0.5 * actual.se[1][others]).mean() > 0.9


def test_the_same_seed_gives_the_same_p():
    values = recorded("constant")
    assert judged(values, seed=3).pattern_p == judged(values, seed=3).pattern_p


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (np.arange(2000) // 1000, "1 unbroken period;"),  # seen once
        (np.arange(2000) // 200 % 2, "5 unbroken periods;"),
        (np.zeros(2000, int), "1 unbroken period;"),
        (np.where(np.arange(2000) % 100 < 2, 1, 0), "'run' has 38 bins"),
    ],
)
def test_a_state_that_is_seen_too_rarely_is_refused(state, words):
    with pytest.raises(DataError, match=words):
        judged(recorded("constant"), state)


def test_information_without_a_row_is_the_inverse_of_the_covariance_without_it():
    draw = np.random.default_rng(0).normal(size=(50, 4))
    covariance = draw.T @ draw / 50
    left = _without(np.linalg.inv(covariance), 2)
    rest = [0, 1, 3]
    np.testing.assert_allclose(
        left[np.ix_(rest, rest)], np.linalg.inv(covariance[np.ix_(rest, rest)]), rtol=1e-9
    )
    np.testing.assert_allclose(left[2], 0, atol=1e-12)


def test_one_state_is_refused():
    values = recorded("constant")
    with pytest.raises(DataError, match="One state"):
        state_change(values, np.zeros(2000, int), STATE, ("rest",))
