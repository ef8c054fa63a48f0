"""The grammar of conditions: what it refuses, what it means, and what older forms become."""

import math
import operator

import numpy as np
import pandas as pd
import pytest

from nwbdyn.data import conditions
from nwbdyn.data.conditions import ConditionError, holds, parse
from nwbdyn.errors import ConfigError

NAN = math.nan
TABLE = pd.DataFrame(
    {
        "id": np.array([10, 11, 12, 13, 14], dtype=np.uint64),
        "rate": [0.9, 2.0, NAN, 3.0, -0.1],
        "depth": [1, 2, 3, 4, 5],
        "quality": ["good", "mua", None, "good", "noise"],
        "mixed": ["a", 3, NAN, True, "b"],
        "flag": [True, False, True, False, True],
        "maybe": pd.Series([True, None, False, None, True], dtype=object),
        "cell type": ["PV", "SST", "PV", "", "VIP"],
        "µm": [1.0, 2.0, 3.0, 4.0, 5.0],
        "lists": [[1], [2], [], [3], [4]],
    }
)


def rows(text: str, table: pd.DataFrame = TABLE) -> list[int]:
    return np.flatnonzero(holds(parse(text), table)).tolist()


HOSTILE = [  # text, and the character (from 1) that is refused
    ("@pd.io.common.os.system('true') == 0", 1),
    ("rate > @pd.io.common.os.getpid()", 8),
    ("__import__('os').system('true') == 0", 1),
    ("().__class__.__bases__[0].__subclasses__() == 1", 1),
    ("rate.__class__ == 1", 1),
    ("rate > 0 and rate.values.tofile('x')", 14),
    ("quality.str.replace('a', 'b', regex=True) == 'b'", 36),
    ("quality.to_csv('stolen.csv') == 0", 1),
    ("rate[0] > 1", 1),
    ("rate > rate[0]", 8),
    ("(lambda: 1)() == 1", 8),
    ("[x for x in rate] == rate", 1),
    ("(x for x in rate) == rate", 1),
    ("f'{rate}' == 'a'", 1),
    ("f'{__import__(\"os\")}' == quality", 1),
    ("(y := rate) > 1", 4),
    ("rate if flag else depth", 1),
    ("rate > 9 ** 9 ** 9", 8),
    ("'a' * 999999999 == quality and 2 ** 99 > 1", 32),
    ("rate > 99999999999999999999999999", 8),
    ("rate > 1e999", 8),
    ("rate > 1j", 8),
    ("quality == b'good'", 12),
    ("eval('1') == 1", 1),
    ("exec('import os') == 1", 1),
    ("open('/etc/passwd') == 1", 1),
    ("getattr(rate, 'values') == 1", 1),
    ("isna(rate, depth)", 1),
    ("isna(rate + 1)", 6),
    ("contains(quality, depth)", 19),
    ("contains(quality, 'a', regex=True)", 29),
    ("startswith('good', 'g')", 12),
    ("isna(*quality)", 6),
    ("rate > 1; import os", 9),
    ("rate > 1 # and more", 10),
    ("import os", 1),
    ("rate = 1", 6),
    ("rate == 1 and {1: 2}", 15),
    ("rate @ depth == 1", 6),
    ("rate > 1 \\\n and 1", 10),
    ("rate\x00 > 1", 5),
    ("rate > 1\x1b[2J", 9),
    ("quality == 'a\x00'", 14),
    ("quality == 'good", 12),
    ("`cell type == 'PV'", 1),
    ("quality is None", 1),
    ("quality == None", 12),
    ("rate in depth", 9),
    ("rate in [depth]", 10),
    ("quality in [quality.str]", 13),
    ("rate > ...", 8),
    ("1 == 1", 1),
    ("True", 1),
    ("", 1),
    ("   ", 1),
    ("rate >> 1 == 1", 1),
    ("$HOME == rate", 1),
    ("await rate == 1", 1),
    ("print(rate) == 1", 1),
    ("rate.eval('1') == 1", 1),
]


@pytest.mark.parametrize(("text", "position"), HOSTILE)
def test_a_hostile_condition_is_refused_with_its_position(text, position):
    with pytest.raises(ConditionError, match=rf"refused at character {position}: ") as refused:
        parse(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "rate" + ")" * 5000,
        "(" * 100 + "rate" + ")" * 100 + " > 1" + " and (rate > 1" * 60 + ")" * 60,
        "not " * 3000 + "flag",
        "-" * 19_000 + "rate > 1",
        "rate" + " + rate" * 2500 + " > 1",
        "rate > 1 or " * 5000 + "flag",
    ],
)
def test_nesting_and_length_are_limited(text):
    with pytest.raises(ConditionError, match=r"deeper than 40|20,000 at most|no expression"):
        parse(text)


def test_nothing_in_a_condition_runs(tmp_path):
    made = tmp_path / "made"
    for text in (
        f"@pd.io.common.os.system('touch {made}') == 0",
        f"__import__('pathlib').Path('{made}').touch() == 0",
        f"rate.to_csv('{made}') == 0",
    ):
        with pytest.raises(ConditionError):
            parse(text)
    assert not made.exists()


@pytest.mark.parametrize("condition", [7, None, ["rate > 1"], {"a": 1}])
def test_a_condition_that_is_no_text_is_refused(condition):
    with pytest.raises(ConditionError, match="has to be text"):
        parse(condition)


COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@pytest.mark.parametrize("sign", COMPARISONS)
@pytest.mark.parametrize("value", [0.9, 2, 3])
def test_a_comparison_is_that_of_the_numbers_and_nan_satisfies_only_unequal(sign, value):
    compare = COMPARISONS[sign]
    expected = [row for row, rate in enumerate(TABLE["rate"]) if compare(rate, value)]
    assert rows(f"rate {sign} {value}") == expected
    assert (2 in expected) == (sign == "!=")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quality == 'good'", [0, 3]),
        ("quality != 'good'", [1, 2, 4]),  # None is not equal to anything
        ("quality < 'n'", [0, 1, 3]),
        ("quality == 3", []),
        ("quality != 3", [0, 1, 2, 3, 4]),
        ("mixed == 3", [1]),
        ("mixed == 'a'", [0]),
        ("mixed == True", [3]),
        ("flag", [0, 2, 4]),
        ("not flag", [1, 3]),
        ("flag == True", [0, 2, 4]),
        ("flag == 0", [1, 3]),
        ("maybe", [0, 4]),
        ("not maybe", [1, 2, 3]),
        ("flag and rate > 0.5", [0]),
        ("flag or rate > 2.5", [0, 2, 3, 4]),
        ("not (rate > 1)", [0, 2, 4]),
        ("not rate > 1 and depth < 3", [0]),
        ("rate > 0.5 or depth == 5 and flag", [0, 1, 3, 4]),
        ("0 < rate < 2.5", [0, 1]),
        ("1 < depth <= 3 < 4", [1, 2]),
        ("rate < depth", [0, 3, 4]),
        ("id in [11, 12]", [1, 2]),
        ("id in (11, 12)", [1, 2]),
        ("id not in [11, 12]", [0, 3, 4]),
        ("rate in [2, -0.1]", [1, 4]),
        ("quality in ['good', 'noise']", [0, 3, 4]),
        ("quality not in ['good']", [1, 2, 4]),
        ("quality in []", []),
        ("isna(rate)", [2]),
        ("notna(rate)", [0, 1, 3, 4]),
        ("isna(quality)", [2]),
        ("isna(mixed)", [2]),
        ("startswith(quality, 'g')", [0, 3]),
        ("contains(quality, 'oo')", [0, 3]),
        ("contains(quality, '.')", []),  # text, no pattern
        ("contains(mixed, 'a')", [0]),
        ("`cell type` == 'PV'", [0, 2]),
        ("startswith(`cell type`, 'S')", [1]),
        ("isna(`cell type`)", []),
        ("`rate` > 2.5", [3]),
        ("µm > 3", [3, 4]),
        ("`µm` > 3 and `cell type` == ''", [3]),
        ("depth * 2 + 1 == 5", [1]),
        ("depth / 2 == 1.5", [2]),
        ("depth // 2 == 2", [3, 4]),
        ("depth % 2 == 0", [1, 3]),
        ("-depth < -3", [3, 4]),
        ("rate + 1 > 2", [1, 3]),
        ("depth / 0 > 1", [0, 1, 2, 3, 4]),  # infinite
        ("depth % 0 == 0", []),
        ("(depth - 1) / (depth - 1) == 1", [1, 2, 3, 4]),  # 0 / 0 is unknown
        ("rate != rate", [2]),
        ("  depth ==\t4  ", [3]),
        ("depth in [\n  1,\n  2\n]", [0, 1]),
        ('quality == "good"', [0, 3]),
        ("quality == 'go`od'", []),
        ("depth > True", [1, 2, 3, 4]),
    ],
)
def test_a_condition_keeps_these_rows(text, expected):
    assert rows(text) == expected


def test_whole_numbers_are_compared_exactly():
    largest = 2**64 - 1
    table = pd.DataFrame({"id": np.array([largest, largest - 1], dtype=np.uint64)})
    assert rows(f"id == {largest}", table) == [0]
    assert rows(f"id - 1 == {largest - 2}", table) == [1]


def test_a_condition_on_no_rows_holds_for_none():
    assert rows("rate > 1 and flag", TABLE.iloc[:0]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depht > 3", r"column 'depht', which the table lacks; did you mean depth\?"),
        ("`no such` > 3", r"column 'no such'"),
        ("rate", r"at character 1: this is not true or false"),
        ("rate + 1", r"at character 1: this is not true or false"),
        ("flag and rate", r"at character 10: this is not true or false"),
        ("not quality", r"at character 5: this is not true or false"),
        ("quality > 3", r"at character 11: text has no order beside numbers \('good' and 3\)"),
        ("mixed < 2", r"text has no order beside numbers"),
        ("quality * 99 == 'a'", r"at character 1: arithmetic takes numbers"),
        ("quality + 'a' == 'a'", r"arithmetic takes numbers"),
        ("contains(rate, 'a')", r"takes a column of text"),
        ("lists == 1", r"holds values of the kind list"),
    ],
)
def test_a_condition_that_does_not_fit_the_table_names_the_columns(text, message):
    with pytest.raises(ConfigError, match=rf"{message}.*there are: id, rate, depth, quality"):
        rows(text)


@pytest.mark.parametrize(
    ("older", "now"),
    [
        ("(rate > 1) & (quality == 'good')", "rate > 1 and quality == 'good'"),
        ("rate > 1 | ~flag", "rate > 1 or not flag"),
        ("quality.isna()", "isna(quality)"),
        ("quality.isnull() == False", "isna(quality) == False"),
        ("not rate.notnull()", "not notna(rate)"),
        ("quality.str.startswith('g')", "startswith(quality, 'g')"),
        ("quality.str.contains('good')", "contains(quality, 'good')"),
        ("quality.str.contains('g.d', regex=False)", "contains(quality, 'g.d')"),
        ("`cell type`.str.startswith('P')", "startswith(`cell type`, 'P')"),
        ("quality.isin(['good', 'mua'])", "quality in ['good', 'mua']"),
        ("quality == ['good', 'mua']", "quality in ['good', 'mua']"),
        ("quality != ['good']", "quality not in ['good']"),
        ("quality in {'good', 'mua'}", "quality in ['good', 'mua']"),
        ("depth.between(2, 3)", "2 <= depth <= 3"),
        ("rate.gt(1)", "rate > 1"),
        ("quality is None", "isna(quality)"),
        ("quality is not None", "notna(quality)"),
        ("quality == None", "isna(quality)"),
        ("'good' in quality", "quality == 'good'"),
        ("rate ** 2 > 4", "rate * rate > 4"),
        ("quality == 'a&b' & flag", "quality == 'a&b' and flag"),
    ],
)
def test_an_older_form_is_refused_with_its_equivalent(older, now):
    with pytest.raises(ConditionError, match=r"Write instead: ") as refused:
        parse(older)
    assert refused.value.equivalent == now
    parse(now)


@pytest.mark.parametrize(
    "older",
    [
        "quality.str.contains('g.d')",  # a pattern
        "quality.str.endswith('d')",
        "quality.str.lower() == 'good'",
        "rate > @threshold",
        "sin(rate) > 0",
        "rate ** 3 > 4",
    ],
)
def test_what_has_no_equivalent_is_refused_with_what_there_is(older):
    with pytest.raises(ConditionError, match="startswith, contains") as refused:
        parse(older)
    assert refused.value.equivalent is None


def test_a_long_condition_is_cut_in_the_message():
    with pytest.raises(ConditionError) as refused:
        parse("rate > 1 and " * 1000 + "x.y")
    assert len(str(refused.value)) < 600


def test_columns_are_those_that_are_named_and_no_text():
    parsed = conditions.parse("rate > 1 and quality == 'depth' and isna(`cell type`) and rate < 9")
    assert parsed.columns == ("rate", "quality", "cell type")
