"""The edge table: its columns, its kinds, which edges it shows first, and its copies in a run."""

import numpy as np
import pandas as pd
import pytest

from nwbdyn.cli import scoreboard, terminal
from nwbdyn.connectivity import edge_table, strongest_edges
from nwbdyn.recording import Neurons

NEURONS = Neurons(
    pd.DataFrame(
        {"id": [7, 9, 11], "neuron_name": ["AVAL", "AVAR", ""], "cell_type": ["a", None, "b"]}
    ),
    "roi",
)


def edges(weight, **more) -> pd.DataFrame:
    post, pre = np.array([1, 2, 0])[: len(weight)], np.array([0, 1, 2])[: len(weight)]
    return edge_table.edge_table(NEURONS, post, pre, np.array(weight), **more)


def test_an_edge_names_its_neurons_and_keeps_their_ids():
    table = edges([0.5, -2.0])
    assert list(table.columns[: len(edge_table.COLUMNS)]) == list(edge_table.COLUMNS)
    assert table["pre"].tolist() == [NEURONS.names[0], NEURONS.names[1]]
    assert table["post_id"].tolist() == [9, 11]
    assert table["pre_cell_type"].tolist() == ["a", ""]
    assert table[["se", "p", "q"]].isna().all(axis=None)
    assert (table["flags"] == "").all()
    assert table["sign"].tolist() == [1, -1]


def test_every_kind_is_found_again():
    table = edge_table.combined(
        [
            edges([0.5, -2.0]).assign(influence=[1.0, 2.0]),
            edges([0.25], kind="simultaneous", lag=0),
            edges([1.5], state="run - rest", q=np.array([0.01])),
            edges([]),
        ]
    )
    assert len(table) == 4
    assert edge_table.directed(table)["weight"].tolist() == [0.5, -2.0]
    assert edge_table.simultaneous(table)["weight"].tolist() == [0.25]
    assert edge_table.changes(table)["weight"].tolist() == [1.5]
    assert table["influence"].isna().tolist() == [False, False, True, True]


def test_attributes_of_a_combined_table_are_those_of_its_directed_edges():
    first = edges([0.5])
    first.attrs = {"kept_share": 0.5}
    table = edge_table.combined([first, edges([0.25], kind="simultaneous")])
    assert table.attrs == edge_table.directed(table).attrs == {"kept_share": 0.5}


def test_a_table_of_ids_gets_names():
    old = pd.DataFrame(
        {"pre": [7, 9], "post": [9, 11], "weight": [0.5, 0.25], "seed_sd": [1.0, 2.0]}
    )
    table = edge_table.named(old, NEURONS)
    assert table["pre_id"].tolist() == [7, 9]
    assert table["post"].tolist() == NEURONS.names[1:]
    assert table["seed_sd"].tolist() == [1.0, 2.0]
    assert edge_table.named(table, NEURONS) is table
    with pytest.raises(ValueError, match="a neuron that the fit does not have"):
        edge_table.named(old.assign(pre=[7, 8]), NEURONS)


@pytest.mark.parametrize(
    ("weight", "se", "q", "order"),
    [
        ([0.5, -2.0, 1.0], [np.nan] * 3, [np.nan] * 3, [-2.0, 1.0, 0.5]),  # by size
        ([0.5, -2.0, 1.0], [0.1, 2.0, 0.5], [np.nan] * 3, [0.5, 1.0, -2.0]),  # by size over se
        ([0.5, -2.0, 1.0], [0.1, 2.0, 0.5], [0.5, 0.5, 0.01], [1.0, 0.5, -2.0]),  # by q first
        ([0.5, -2.0, 1.0], [0.1, 2.0, 0.0], [np.nan] * 3, [-2.0, 1.0, 0.5]),  # an se is missing
    ],
)
def test_which_edges_are_shown_first(weight, se, q, order):
    table = edges(weight, se=np.array(se), q=np.array(q))
    assert strongest_edges.ranked(table)["weight"].tolist() == order


def test_every_kind_has_its_share_of_the_rows_shown():
    table = edge_table.combined(
        [edges([1.0, 2.0, 3.0]), edges([0.1, 0.2, 0.3], kind="simultaneous", lag=0)]
    )
    shown = strongest_edges.rows(table, number=3)
    assert [row[2:5] for row in shown] == [
        ("directed", "", "+3.00"),
        ("directed", "", "+2.00"),
        ("simultaneous", "0", "+0.300"),
    ]


def test_what_was_not_tested_is_left_blank():
    (row,) = strongest_edges.rows(edges([1.5]))
    assert row == (*NEURONS.names[:2], "directed", "", "+1.50", "", "", "")
    (row,) = strongest_edges.rows(edges([1.5], state="run - rest", q=np.array([0.0123])))
    assert (row[2], row[6]) == ("directed, run - rest", "0.012")


@pytest.mark.parametrize(
    ("largest", "digits", "decimals"),
    [(0.301, 3, 3), (0.0958, 3, 4), (3.0, 3, 2), (123.4, 3, 0), (4567.0, 3, 0), (0.0, 3, 3)],
)
def test_a_column_has_the_decimals_of_its_largest_weight(largest, digits, decimals):
    assert strongest_edges.decimals(largest, digits) == decimals


def test_weights_and_q_have_one_number_format():
    table = edges([0.301, -0.0958], se=np.array([0.0131, 0.0066]), q=np.array([1e-9, 0.04]))
    first, second = strongest_edges.rows(table)
    assert first[4:7] == ("+0.301", "0.013", "<0.001")
    assert second[4:7] == ("-0.096", "0.007", "0.040")


def test_rows_with_long_names_fit_the_terminal():
    row = (
        "a" * 40,
        "b" * 40,
        "directed, running - rest",
        "3",
        "+0.123",
        "0.0012",
        "0.012",
        "f" * 40,
    )
    cut = terminal.narrowed(strongest_edges.HEADER, [row], scoreboard._SHRINKING)
    text = terminal.table(strongest_edges.HEADER, cut)
    assert max(map(len, text.splitlines())) <= terminal.WIDTH
    assert "+0.123" in text
    short = ("a", "b", "directed", "", "+1", "", "", "")
    assert terminal.narrowed(strongest_edges.HEADER, [short], scoreboard._SHRINKING) == [
        list(short)
    ]
