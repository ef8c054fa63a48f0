"""Cell types and regions: means over pairs, errors over animals, sessions and neurons."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.errors import ResultsError
from nwbdyn.recording import Neurons, Source
from nwbdyn.results.fit_results import Fit, Predictions
from nwbdyn.results.sections.states import StateDifferences
from nwbdyn.statistics import groups


def session(
    means: dict[tuple[str, str], float],
    types: list[str],
    *,
    animal: str = "a",
    noise: float = 0.1,
    seed: int = 0,
) -> Fit:
    """A fit whose weight from a neuron of type `pre` to one of `post` is means[post, pre]."""
    draw = np.random.default_rng(seed)
    weight = np.array([[means.get((post, pre), 0.0) for pre in types] for post in types])
    weight = weight + noise * draw.normal(size=weight.shape)
    table = pd.DataFrame({"id": np.arange(len(types)), "cell_type": types})
    coupling = Connectivity(
        form="static",
        time=np.arange(2.0),
        window=(-0.5, 0.5),
        neurons=Neurons(table, "roi"),
        measure="made",
        causal=True,
        arrays={"weight": weight.astype(np.float32)},
    )
    post, pre = np.nonzero(~np.eye(len(types), dtype=bool))
    edges = edge_table.edge_table(coupling.neurons, post, pre, weight[post, pre])
    values = np.zeros((2, len(types)), dtype=np.float32)
    return Fit(
        model="made",
        config={},
        binning={},
        split={},
        history=(),
        metrics={},
        predictions=Predictions(
            values=values,
            time=np.arange(2.0),
            bin_width=1.0,
            held_out=np.zeros(len(types), dtype=bool),
            labels=np.zeros(2, dtype=np.int8),
            quantity="dff",
            horizon=1,
            neurons=coupling.neurons,
        ),
        connectivity=coupling,
        edges=edges,
        neurons=coupling.neurons,
        source=Source("made.nwb", "file:///made.nwb"),
        session={"subject": {"subject_id": animal}},
        versions={},
        seed=0,
        device="cpu",
    )


TYPES = ["E"] * 6 + ["I"] * 5
COUPLED = {("E", "I"): -1.0, ("I", "E"): 0.5}


def row(table: pd.DataFrame, post: str, pre: str) -> pd.Series:
    return table[(table["post"] == post) & (table["pre"] == pre)].iloc[0]


def test_a_mean_is_over_ordered_pairs_without_the_diagonal():
    made = session(COUPLED, TYPES)
    weight = made.connectivity.mean().to_numpy()
    table = groups.cell_type_contrast(made)
    assert row(table, "E", "I")["weight"] == pytest.approx(weight[:6, 6:].mean())
    own = weight[:6, :6]
    assert row(table, "E", "E")["weight"] == pytest.approx((own.sum() - np.trace(own)) / 30)


def test_one_animal_says_so_in_the_name_of_every_interval():
    table = groups.cell_type_contrast([session(COUPLED, TYPES), session(COUPLED, TYPES, seed=1)])
    assert {"low_within_animal", "high_within_animal", "q_within_animal"} <= set(table)
    assert "low" not in table


def test_coupled_types_are_called_and_others_are_not():
    fits = [session(COUPLED, TYPES, animal=name, seed=k) for k, name in enumerate("abcdef")]
    table = groups.cell_type_contrast(fits)
    called = table[table["q"] <= 0.05]
    assert set(zip(called["post"], called["pre"], strict=True)) == {("E", "I"), ("I", "E")}
    assert (table["num_animals"] == 6).all()
    assert row(table, "I", "E")["num_post"] == 30


def test_a_type_of_two_cells_is_masked():
    table = groups.cell_type_contrast(session(COUPLED, ["E"] * 6 + ["I"] * 2))
    for post, pre in (("E", "I"), ("I", "E"), ("I", "I")):
        assert np.isnan(row(table, post, pre)["weight"])
        assert row(table, post, pre)["num_sessions"] == 0
    assert np.isfinite(row(table, "E", "E")["weight"])


def test_animals_that_disagree_widen_the_interval_however_many_cells_they_have():
    def width(size: float, cells: int) -> float:
        types = ["E"] * cells + ["I"] * cells
        fits = [
            session({("E", "I"): mean}, types, animal=name, seed=k, noise=0.3)
            for k, (name, mean) in enumerate(zip("abcd", (1 - size, 1 + size) * 2, strict=True))
        ]
        actual = row(groups.cell_type_contrast(fits, num_resamples=300), "E", "I")
        return actual["high"] - actual["low"]

    assert width(0.9, 20) > 3 * width(0.0, 20)


def test_an_animal_counts_once_however_many_sessions_it_has():
    many = [session({("E", "I"): 1.0}, TYPES, animal="a", noise=0, seed=k) for k in range(5)]
    other = session({("E", "I"): -1.0}, TYPES, animal="b", noise=0)
    assert row(groups.cell_type_contrast([*many, other]), "E", "I")["weight"] == pytest.approx(
        0, abs=1e-6
    )


def test_flagged_edges_can_be_left_out():
    made = session(COUPLED, TYPES)
    made.edges.loc[made.edges["post_id"].lt(6) & made.edges["pre_id"].eq(6), "flags"] = "close ROIs"
    weight = made.connectivity.mean().to_numpy()
    table = groups.cell_type_contrast(made, with_flagged=False)
    assert row(table, "E", "I")["weight"] == pytest.approx(weight[:6, 7:].mean())


def test_neurons_without_labels_cannot_be_grouped():
    with pytest.raises(ResultsError, match="No neuron has a 'location'"):
        groups.cell_type_contrast(session(COUPLED, TYPES), "location")


def test_pairs_in_states_are_one_family_of_tests():
    made = session(COUPLED, TYPES)
    # windows at 0 and 1 s, .5 s long to either side
    table = pd.DataFrame(
        {"start_time": [-0.5, 0.5], "stop_time": [0.5, 1.5], "state": ["rest", "run"]}
    )
    actual = groups.cell_type_contrast(made, states=table)
    alone = groups.cell_type_contrast(made)
    assert actual["state"].tolist() == ["rest"] * 4 + ["run"] * 4
    assert not actual["supported"].any()
    for name in ("rest", "run"):
        part = actual[actual["state"] == name].reset_index(drop=True)
        assert part["weight"].tolist() == pytest.approx(alone["weight"].tolist())  # a constant one
    p = np.concatenate([alone["p_within_animal"]] * 2)
    expected = stats.false_discovery_control(p)
    assert actual["q_within_animal"].to_numpy() == pytest.approx(expected)
    assert actual["p_states"].isna().all()
    assert set(actual["why_not"]) == {"not requested (fit --states)"}


def test_a_table_of_states_says_what_the_fits_say_of_them():
    table = pd.DataFrame(
        {"start_time": [-0.5, 0.5], "stop_time": [0.5, 1.5], "state": ["rest", "run"]}
    )
    made = session(COUPLED, TYPES)
    known, doubted = (
        replace(made, metrics=StateDifferences(["rest", "run"], p, not why_not, why_not).metrics())
        for p, why_not in ((0.04, ""), (0.05, "A(t) does not beat VAR"))
    )
    for fits, p, why_not in (
        ([known], 0.04, ""),
        ([known, doubted], 0.05, "A(t) does not beat VAR"),
        ([doubted, doubted], 0.05, "A(t) does not beat VAR"),
    ):
        actual = groups.cell_type_contrast(fits, states=[table] * len(fits))
        assert (actual["supported"] == (not why_not)).all()
        assert (actual["p_states"] == p).all()
        assert (actual["why_not"] == why_not).all()
    actual = groups.cell_type_contrast([known, made], states=[table, table])
    assert actual["p_states"].isna().all()
    assert not actual["supported"].any()


def test_every_session_needs_its_states():
    made = session(COUPLED, TYPES)
    table = pd.DataFrame({"start_time": [-0.5], "stop_time": [0.5], "state": ["rest"]})
    with pytest.raises(ResultsError, match="1 tables of states for 2 fits"):
        groups.cell_type_contrast([made, made], states=table)


def test_means_are_kept_with_and_without_flagged_edges():
    made = session(COUPLED, TYPES)
    flagged = (made.edges["post_id"] == 0) & (made.edges["pre_id"] == 6)
    made = replace(made, edges=made.edges.assign(flags=np.where(flagged, "close ROIs", "")))
    table = groups.table_of(made)
    weight = made.connectivity.mean().to_numpy()[:6, 6:]
    actual = row(table, "E", "I")
    assert actual["weight"] == pytest.approx(weight.mean())
    assert actual["weight_unflagged"] == pytest.approx(weight.ravel()[1:].mean())
    assert row(table, "I", "E")["weight_unflagged"] == row(table, "I", "E")["weight"]
