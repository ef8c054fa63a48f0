"""Nested values as rows of text and back, scores as a table and back, numbers without noise."""

import math

import numpy as np
import pytest

from nwbdyn.nwb.results import storage
from nwbdyn.nwb.results.blocks import BLOCK
from nwbdyn.results.details import Detail, nested, rows, tidy
from nwbdyn.results.scores import scores, scores_beside, with_scores


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.10000000000000142, 0.1),  # a frame interval, computed
        (1.5500000000000003, 1.55),
        (1 / 30, 1 / 30),  # not a short decimal
        (0.6300596393013317, 0.6300596393013317),  # a score
        (0.0, 0.0),
        (math.inf, math.inf),
    ],
)
def test_the_noise_of_a_computation_is_dropped_and_nothing_else(number, written):
    assert tidy(number) == written


def test_nested_values_come_back_from_rows_of_text():
    values = {
        "epochs": 3,
        "rate": 0.1,
        "whole": 2.0,
        "large": 1e-05,
        "none": None,
        "flag": True,
        "text": "true",
        "number in text": "3",
        "empty text": "",
        "list": [1, 2.5, None, "a"],
        "empty": {},
        "nan": math.nan,
        "minus": -math.inf,
        "deep": {"L2.3": {"a\\b": 1, "x.y.": "z"}},
        "tried": [{"options": {"ridge": 1.0}, "chosen": False}, {}, 3, [], [{"a": [1, {"b": 2}]}]],
        "[0]": {"[1]": 1, "[": {}, "a[0]": [[1], [2]]},
    }
    actual = nested(rows("config", values))
    np.testing.assert_equal(actual, values)
    assert all(type(actual[name]) is type(values[name]) for name in values)


def test_no_row_holds_a_mapping_as_text():
    values = {"tried": [{"ridge": 1.0}, {"ridge": 2.0}], "none": {}, "lists": [[1, 2], []]}
    actual = [(row.key, row.value, row.value_type) for row in rows("scores", values)]
    assert actual == [
        ("tried.[0].ridge", "1.0", "number"),
        ("tried.[1].ridge", "2.0", "number"),
        ("none", "", "mapping"),
        ("lists", "[[1, 2], []]", "json"),
    ]


def test_mappings_written_as_json_by_earlier_versions_still_read():
    old = [
        Detail("scores", "candidates", '[{"a": 1}]', "json"),
        Detail("scores", "b", "{}", "json"),
    ]
    assert nested(old) == {"candidates": [{"a": 1}], "b": {}}


def test_a_row_reads_as_a_person_would_write_it():
    (row,) = rows("binning", {"bin": {"width": 0.10000000000000142}})
    assert (row.section, row.key, row.value, row.value_type) == (
        "binning", "bin.width", "0.1", "number",
    )  # fmt: skip


METRICS = {
    "model": {"test": {"r2": 0.5, "pearson": math.nan}, "val": {"r2": 0.4}},
    "baselines": {
        "AR(2.5)": {"test": {"r2": 0.3}},
        "none": {},
        "odd": {"test": {"r2": None, "flag": True}},
    },
    "intervals": {
        "model": {"test": {"r2": [0.4, 0.6], "pearson": [None, None]}},
        "baselines": {"AR(2.5)": {"test": {"r2": [0.2, 0.4]}}},
        "difference": {"test": {"r2": [0.1, 0.3]}},
    },
    "primary": {"metric": "r2"},
}


def test_scores_are_rows_with_intervals_and_the_rest_is_kept_beside_them():
    actual = list(scores(METRICS))
    assert [(one.method, one.split, one.metric) for one in actual] == [
        (None, "test", "r2"),
        (None, "test", "pearson"),
        (None, "val", "r2"),
        ("AR(2.5)", "test", "r2"),
    ]
    assert [one.interval for one in actual] == [(0.4, 0.6), None, None, (0.2, 0.4)]
    rest = nested(rows("scores", scores_beside(METRICS)))
    assert "model" not in rest
    np.testing.assert_equal(with_scores(rest, actual), METRICS)


@pytest.mark.parametrize("large", [False, True])
def test_a_rounded_array_is_within_a_share_of_each_columns_deviation(large, monkeypatch):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(20_000, 4)).astype(np.float32) * [1, 1e-4, 300, 0]
    values[:, 2] += 1000
    values = values.astype(np.float32)
    values[7] = np.nan
    if large:
        monkeypatch.setattr(storage, "BLOCK", 2**16)
    rounded = storage.rounded(values, 8)
    assert isinstance(rounded, storage.Rounded) is large
    actual = rounded[:]
    assert actual.dtype == np.float32
    assert np.isnan(actual[7]).all()
    error = np.nanmax(np.abs(actual - values), axis=0)
    # Half a step, the step at most 2^-8 of the deviation; a constant column stays as it is.
    assert (error <= 2.0**-9 * np.nanstd(values.astype(float), axis=0)).all()
    assert len(np.unique(actual[:, 0])) < 3_000
    assert BLOCK > 2**16


def test_a_small_array_is_not_rounded():
    values = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    np.testing.assert_array_equal(storage.rounded(values, 2), values)
