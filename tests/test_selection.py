"""Keeping neurons by a condition on their table."""

import numpy as np
import pandas as pd
import pytest

from nwbdyn.data.selection import where
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.recording import Neurons, Recording, Source, SpikeTimes, Traces

SPIKES = [[0.1, 0.2], [0.3], [], [0.4, 0.5, 0.6], [0.7]]
TABLE = pd.DataFrame(
    {
        "id": [10, 11, 12, 13, 14],
        "quality": ["good", "mua", "good", "good", "mua"],
        "rate": [0.9, 2.0, np.nan, 3.0, 0.1],
    }
)


def recorded(activity) -> Recording:
    return Recording("s", Neurons(TABLE, "unit", "/units"), activity, Source("a", "file:///a"))


@pytest.fixture
def spikes() -> Recording:
    index = np.cumsum([len(times) for times in SPIKES])
    return recorded(SpikeTimes(np.concatenate(SPIKES), index))


@pytest.fixture
def imaging() -> Recording:
    data = np.arange(40.0).reshape(8, 5)
    return recorded(Traces(data, np.arange(8.0), "dff"))


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("quality == 'good'", [0, 2, 3]),
        ("quality == 'good' and rate > 0.5", [0, 3]),
        ("rate < 1", [0, 4]),
        ("id in [11, 12]", [1, 2]),
    ],
)
def test_the_spikes_of_the_kept_units_are_their_own(spikes, condition, rows):
    kept = where(spikes, condition)
    assert kept.neurons.ids.tolist() == [10 + row for row in rows]
    for unit, row in enumerate(rows):
        assert kept.activity.of(unit).tolist() == SPIKES[row]
    together = [time for row in rows for time in SPIKES[row]]
    assert np.asarray(kept.activity.times).tolist() == together
    assert kept.activity.times[1:3].tolist() == together[1:3]
    assert kept.activity.times[-1:].tolist() == together[-1:]
    assert kept.activity.times[0] == together[0]


def test_the_traces_of_the_kept_rois_are_their_own(imaging):
    kept, whole = where(imaging, "quality == 'good'").activity.data, imaging.activity.data
    expected = whole[:, [0, 2, 3]]
    assert kept.shape == expected.shape
    np.testing.assert_array_equal(kept, expected)
    for key in (2, slice(1, 4), (slice(2, 6), 1), (3, 2), (slice(None), slice(0, 2))):
        np.testing.assert_array_equal(
            where(imaging, "quality == 'good'").activity.data[key], expected[key]
        )


def test_what_was_kept_is_noted(spikes):
    note = where(spikes, "rate > 1").notes[-1]
    assert (note.code, note.where) == ("selected-neurons", "/units")
    assert note.reason == "2 of 5 neurons kept, where rate > 1"


def test_a_condition_that_no_neuron_satisfies_is_refused(spikes):
    with pytest.raises(DataError, match="None of the 5 neurons satisfies 'rate > 99'"):
        where(spikes, "rate > 99")


@pytest.mark.parametrize("condition", ["depth > 3", "rate >", "rate", "rate + 1", "quality.x()"])
def test_a_condition_that_makes_no_sense_is_refused_with_the_columns(spikes, condition):
    with pytest.raises(ConfigError, match=r"Compare columns .* there are: id, quality, rate"):
        where(spikes, condition)


def test_a_neuron_goes_by_its_label_where_the_table_names_cells():
    table = pd.DataFrame({"id": [3, 4, 5], "neuron_label": ["AVAL", " ", np.nan]})
    assert Neurons(table, "roi").names == ["AVAL (3)", "4", "5"]


def test_a_column_that_names_kinds_or_numbers_names_no_cell():
    kinds = pd.DataFrame({"id": [3, 4, 5, 6], "label": ["good", "mua", "good", "mua"]})
    numbers = pd.DataFrame({"id": [3, 4], "label": [17, 18]})
    assert Neurons(kinds, "unit").names == ["3", "4", "5", "6"]
    assert Neurons(numbers, "unit").names == ["3", "4"]
