"""Static and changing parts of a coupling, and when a change may be reported."""

import numpy as np
import pandas as pd
import pytest
from small import neurons
from test_refits import EDGES, traces

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.evaluation import verdict
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stages import static_control
from nwbdyn.results.sections.dynamics import CouplingChange

ADDS = {"metric": "r2", "split": "test", "adds": 0.02, "interval": [0.01, 0.03]}


def dense(weight: np.ndarray) -> Connectivity:
    return Connectivity(
        form="dense",
        time=np.arange(len(weight), dtype=float),
        window=(-0.5, 0.5),
        neurons=neurons(weight.shape[1]),
        measure="made",
        causal=True,
        arrays={"weights": weight.astype(np.float32)},
    )


ALL = pd.DataFrame({"pre_id": [1, 0], "post_id": [0, 1]})


def test_a_constant_coupling_is_all_static():
    weight = np.tile([[5.0, 1.0], [-2.0, 5.0]], (40, 1, 1))
    assert static_control.static_share(dense(weight), ALL) == pytest.approx(1.0)


def test_the_static_share_is_the_square_of_the_mean_over_the_mean_square():
    weight = np.zeros((40, 2, 2))
    weight[:, 0, 1] = np.tile([0.0, 2.0], 20)  # mean 1, mean square 2
    weight[:, 1, 0] = 1.0
    assert static_control.static_share(dense(weight), ALL) == pytest.approx(2 / 3)


def test_a_coupling_of_zero_has_no_share():
    assert static_control.static_share(dense(np.zeros((4, 2, 2))), ALL) is None


LESS = {**ADDS, "adds": -0.01, "interval": [-0.03, 0.01]}
UNKNOWN = {**ADDS, "interval": None}
NOT_SUPPORTED = {
    **{"static_share": 0.75, "state_share": 0.25, "baseline": "VAR ridge", "supported": False},
}


@pytest.mark.parametrize(
    ("static", "baseline", "beats", "message"),
    [
        (
            *(ADDS, LESS, False),
            "A(t) beats a refit with a constant A (r2 +0.020, +0.010 to +0.030) on test, but not "
            "VAR ridge (r2 -0.010, -0.030 to +0.010)",
        ),
        (
            *(LESS, ADDS, True),
            "A(t) beats VAR ridge (r2 +0.020, +0.010 to +0.030) on test, but not a refit with a "
            "constant A (r2 -0.010, -0.030 to +0.010)",
        ),
        (
            *(UNKNOWN, LESS, None),
            "A(t) beats neither a refit with a constant A (r2 +0.020, too few blocks for an "
            "interval) nor VAR ridge (r2 -0.010, -0.030 to +0.010) on test",
        ),
    ],
)
def test_which_condition_a_change_fails_is_said_with_its_numbers(static, baseline, beats, message):
    change = CouplingChange.from_json(
        NOT_SUPPORTED | {"static": static, "against_baseline": baseline, "beats_baseline": beats}
    )
    assert change.failed_criteria() == message
    (sentence,) = change.sentences()
    assert message in sentence


def test_a_run_of_an_earlier_version_says_which_condition_failed():
    change = CouplingChange.from_json(NOT_SUPPORTED | {"static": LESS, "beats_baseline": True})
    words = change.failed_criteria()
    assert "beats VAR ridge on test, but not a refit with a constant A" in words


def test_a_supported_change_is_said_with_its_share():
    section = NOT_SUPPORTED | {"static": ADDS, "beats_baseline": True, "supported": True}
    (sentence,) = CouplingChange.from_json(section).sentences()
    assert sentence.endswith("25% of its mean square changes over time.")


def test_a_constant_network_does_not_support_a_change():
    options = {"history": 1, "layer_norm": False, "raw_values": False, "ridge": 300.0, "epochs": 4}
    made = fit(
        traces(EDGES), "netformer", null="shift:2", options={**options, "learning_rate": 0.01}
    )
    actual = made.metrics["dynamics"]
    assert actual["supported"] is False
    primary, board = made.metrics["primary"], made.metrics["baselines"]
    other = board[primary["baseline"]]["test"]["r2"]
    assert actual["against_baseline"]["adds"] == made.metrics["model"]["test"]["r2"] - other
    assert (
        actual["against_baseline"]["interval"]
        == (made.metrics["intervals"]["difference"]["test"]["r2"])
    )
    assert actual["static_share"] + actual["state_share"] == pytest.approx(1.0)
    assert actual["stable_over_halves"] is None
    assert actual["stable_over_seeds"] is None
    assert "static-suffices" in [note.code for note in made.notes]
    assert "20 suffice" in made.metrics["edges"]["withheld"]
    assert any("not supported" in line for line in verdict.sentences(made.metrics, made.model))


def test_synapsnet_has_no_constant_refit_to_beat():
    quick = {"updates": 20, "hidden": 4, "embedding": 2, "context": 3}
    made = fit(traces(EDGES), "synapsnet", null="shift:2", options=quick)
    assert made.metrics["dynamics"]["static"] is None
    assert made.metrics["dynamics"]["supported"] is None
