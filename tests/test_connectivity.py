"""Connectivity answers exactly what plain loops over the equations answer, in every form."""

import numpy as np
import pandas as pd
import pytest

from nwbdyn.connectivity import edge_table, forms
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.errors import ResultsError
from nwbdyn.recording import Neurons

NUM_NEURONS, NUM_BINS, CONTEXT, BIN = 6, 40, 4, 0.5
TYPES = ["pyr", "pv", "pyr", "", "pyr", "sst"]


def neurons(num: int = NUM_NEURONS) -> Neurons:
    table = pd.DataFrame({"id": 100 + np.arange(num)[::-1], "cell_type": TYPES[:num]})
    return Neurons(table, kind="roi")


def netformer(*, layer_norm: bool = True) -> Connectivity:
    """Windows end at every bin but 10-19, as over a gap."""
    draw = np.random.default_rng(0)
    last = np.r_[CONTEXT - 1 : 10, 20 + CONTEXT - 1 : NUM_BINS]
    width = CONTEXT + 3
    arrays = {
        "activity": draw.normal(size=(NUM_BINS, NUM_NEURONS)).astype(np.float32),
        "last": last,
        "embedding": draw.normal(size=(NUM_NEURONS, 3)).astype(np.float32),
        "query": draw.normal(size=(5, width)).astype(np.float32),
        "key": draw.normal(size=(5, width)).astype(np.float32),
    }
    if layer_norm:
        arrays["norm_gain"] = draw.uniform(0.5, 2, width).astype(np.float32)
        arrays["norm_bias"] = draw.normal(size=width).astype(np.float32)
    return Connectivity(
        form="netformer",
        time=last * BIN,
        window=(-(CONTEXT - 1) * BIN, 0.0),
        neurons=neurons(),
        measure="z per z",
        causal=True,
        arrays=arrays,
        attributes={"context": CONTEXT, "scale": width**-0.5},
    )


def gain() -> Connectivity:
    draw = np.random.default_rng(1)
    arrays = {"A": draw.normal(size=(6, 6)), "g": draw.normal(size=(9, 6))}
    return Connectivity("gain", np.arange(9.0), (-1, 0), neurons(), "z per z", True, arrays)


def attention() -> Connectivity:
    maps = np.random.default_rng(2).dirichlet(np.ones(6), size=(5, 2, 6)).astype(np.float16)
    return Connectivity(
        "attention", np.arange(5.0), (-0.5, 0.5), neurons(), "attention", False, {"maps": maps}
    )


def static() -> Connectivity:
    arrays = {"weight": np.random.default_rng(3).normal(size=(6, 6))}
    return Connectivity("static", np.arange(4.0), (-1, 0), neurons(), "z per z", True, arrays)


def dense() -> Connectivity:
    arrays = {"weights": np.random.default_rng(4).normal(size=(4, 6, 6))}
    return Connectivity("dense", np.arange(4.0), (-1, 0), neurons(), "z per z", True, arrays)


EVERY_FORM = {
    "netformer": netformer,
    "netformer without layer norm": lambda: netformer(layer_norm=False),
    "gain": gain,
    "attention": attention,
    "static": static,
    "dense": dense,
}


def by_hand(connectivity: Connectivity) -> np.ndarray:
    """(num_windows, N, N) from the equations, entry by entry."""
    arrays = connectivity.arrays
    num_windows, num = connectivity.num_windows, NUM_NEURONS
    out = np.zeros((num_windows, num, num))
    for w in range(num_windows):
        for i in range(num):
            for j in range(num):
                if connectivity.form == "netformer":
                    out[w, i, j] = netformer_entry(connectivity, w, i, j)
                elif connectivity.form == "gain":
                    out[w, i, j] = arrays["g"][w, i] * arrays["A"][i, j]
                elif connectivity.form == "attention":
                    out[w, i, j] = arrays["maps"][w, 0, i, j]
                elif connectivity.form == "static":
                    out[w, i, j] = arrays["weight"][i, j]
                else:
                    out[w, i, j] = arrays["weights"][w, i, j]
    return out


def netformer_entry(connectivity: Connectivity, w: int, i: int, j: int) -> float:
    arrays = connectivity.arrays

    def token(n: int) -> np.ndarray:
        end = arrays["last"][w]
        history = [arrays["activity"][end - CONTEXT + 1 + step, n] for step in range(CONTEXT)]
        z = np.array([*history, *arrays["embedding"][n]], dtype=np.float64)
        if "norm_gain" in arrays:
            z = (z - z.mean()) / np.sqrt(z.var() + 1e-5) * arrays["norm_gain"] + arrays["norm_bias"]
        return z

    query, key = arrays["query"].astype(float) @ token(i), arrays["key"].astype(float) @ token(j)
    return float(connectivity.attributes["scale"]) * float(query @ key)


@pytest.fixture(params=EVERY_FORM)
def connectivity(request: pytest.FixtureRequest) -> Connectivity:
    return EVERY_FORM[request.param]()


# float32 evaluation of sums of about 50 products of order one.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-4}


def test_the_matrix_at_a_time_is_the_equation(connectivity):
    expected = by_hand(connectivity)
    for w in (0, connectivity.num_windows - 1):
        matrix = connectivity.at(connectivity.time[w])
        assert matrix.dims == ("post", "pre")
        assert float(matrix.time) == connectivity.time[w]
        np.testing.assert_allclose(matrix, expected[w], **TOLERANCE)
    np.testing.assert_allclose(connectivity.to_xarray(), expected, **TOLERANCE)


def test_the_mean_is_the_mean_of_the_matrices(connectivity):
    expected = by_hand(connectivity)
    np.testing.assert_allclose(connectivity.mean(), expected.mean(axis=0), **TOLERANCE)
    mask = np.arange(connectivity.num_windows) % 2 == 1
    np.testing.assert_allclose(connectivity.mean(mask), expected[mask].mean(axis=0), **TOLERANCE)


def test_an_edge_over_time_is_that_entry_of_every_matrix(connectivity):
    expected = by_hand(connectivity)
    ids = connectivity.neurons.ids
    series = connectivity.over_time(pre=ids[[0, 5, 2]], post=ids[[3, 1, 2]])
    assert series.dims == ("time", "edge")
    np.testing.assert_allclose(series, expected[:, [3, 1, 2], [0, 5, 2]], **TOLERANCE)
    single = connectivity.over_time(pre=ids[4], post=ids[0])
    np.testing.assert_allclose(single[:, 0], expected[:, 0, 4], **TOLERANCE)


def test_cell_type_means_run_over_ordered_pairs_of_distinct_neurons(connectivity):
    expected = by_hand(connectivity)
    means = connectivity.by_cell_type()
    assert list(means.post_type.values) == ["pv", "pyr", "sst"]
    for a in ("pv", "pyr", "sst"):
        for b in ("pv", "pyr", "sst"):
            pairs = [
                expected[:, i, j]
                for i in range(NUM_NEURONS)
                for j in range(NUM_NEURONS)
                if i != j and TYPES[i] == a and TYPES[j] == b
            ]
            actual = means.sel(post_type=a, pre_type=b)
            if pairs:
                np.testing.assert_allclose(actual, np.mean(pairs, axis=0), **TOLERANCE)
            else:  # one pv cell has no pair with itself
                assert np.isnan(actual).all()


def test_edges_are_off_diagonal_strongest_first_with_ids_and_types(connectivity):
    mean = by_hand(connectivity).mean(axis=0)
    edges = connectivity.edges(7)
    more = ["pre_cell_type", "post_cell_type", "sign"]
    assert list(edges.columns) == [*edge_table.COLUMNS, *more]
    assert (set(edges.kind), set(edges.lag), set(edges.state)) == ({"directed"}, {-1}, {""})
    assert edges[["se", "p", "q"]].isna().all(axis=None)
    row_of = {neuron: row for row, neuron in enumerate(connectivity.neurons.ids)}
    for edge in edges.itertuples():
        i, j = row_of[edge.post_id], row_of[edge.pre_id]
        assert i != j
        assert edge.weight == pytest.approx(mean[i, j], rel=2e-4, abs=2e-4)
        assert edge.sign == np.sign(edge.weight)
        assert (edge.post_cell_type, edge.pre_cell_type) == (TYPES[i], TYPES[j])
    strongest = np.sort(np.abs(mean[~np.eye(6, dtype=bool)]))[::-1][:7]
    np.testing.assert_allclose(edges.weight.abs(), strongest, **TOLERANCE)
    assert len(connectivity.edges()) == NUM_NEURONS * (NUM_NEURONS - 1)


@pytest.mark.parametrize("make", [netformer, gain])
def test_small_blocks_give_the_same_answers_as_one(make, monkeypatch):
    mask = np.arange(make().num_windows) % 3 != 1

    def answers(connectivity: Connectivity) -> tuple:
        over_time = connectivity.over_time([100, 103], [101, 105], mask=mask)
        return connectivity.mean(mask), connectivity.by_cell_type(), over_time

    expected = answers(make())
    monkeypatch.setattr(forms, "BLOCK_BYTES", 60)
    for one, other in zip(expected, answers(make()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_an_interval_keeps_the_windows_that_lie_wholly_inside_it():
    connectivity = netformer()
    expected = by_hand(connectivity)
    intervals = pd.DataFrame({"start_time": [0.5, 12.0], "stop_time": [3.0, 13.6]})
    first, last = connectivity.time - 1.5, connectivity.time
    inside = ((first >= 0.5) & (last <= 3.0)) | ((first >= 12.0) & (last <= 13.6))
    assert 0 < inside.sum() < len(inside)
    np.testing.assert_allclose(
        connectivity.mean(intervals), expected[inside].mean(axis=0), **TOLERANCE
    )
    assert connectivity.mean(intervals).attrs["num_windows"] == inside.sum()


def test_matrices_carry_neuron_ids_and_labels():
    mean = netformer().mean()
    assert list(mean.post.values) == [105, 104, 103, 102, 101, 100]
    assert list(mean.pre_cell_type.values) == TYPES
    assert mean.attrs["measure"] == "z per z"
    assert float(mean.sel(post=105, pre=101)) == float(mean[0, 4])


def test_a_dense_request_beyond_the_limit_is_refused_with_its_size_and_the_way_round():
    connectivity = netformer()
    assert connectivity.dense_bytes == 4 * connectivity.num_windows * 36
    with pytest.raises(ResultsError, match=r"24 matrices of 6 x 6 take .* GB.*over_time"):
        connectivity.to_xarray(limit=1000)
    part = connectivity.to_xarray(slice(10, 13), limit=1100)
    assert part.time.min() >= 10
    assert part.time.max() <= 13


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.at(1e6), "No connectivity at 1e\\+06 s"),
        (lambda c: c.mean(np.zeros(c.num_windows, bool)), "No window is left"),
        (lambda c: c.mean(np.ones(3, bool)), "does not fit 24 windows"),
        (lambda c: c.over_time(pre=100, post=7), "No neuron has the id 7"),
        (lambda c: c.by_cell_type("location"), "No neuron of this recording has a 'location'"),
        (lambda c: Connectivity("odd", c.time, c.window, c.neurons, "", True, {}).mean(), "odd"),
    ],
)
def test_a_question_without_an_answer_says_what_there_is(ask, message):
    with pytest.raises(ResultsError, match=message):
        ask(netformer())
