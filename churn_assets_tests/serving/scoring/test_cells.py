"""Which user and which number a JSON value is."""

import math
from typing import Any

import pytest

from churn_assets.serving.scoring import cells

BIGGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("sent", "user_id"),
    [
        (3, 3),
        (3.0, 3),
        ("3", 3),
        ("3.0", 3),
        ("3.", 3),
        (" 3\n", 3),
        ("1.785E7", 17_850_000),
        ("1e+05", 100_000),
        (0, 0),
        ("-3", -3),
        (BIGGEST, BIGGEST),
        (str(BIGGEST), BIGGEST),
        (str(-(2**63)), -(2**63)),
    ],
)
def test_a_whole_number_is_a_user_however_it_is_written(sent: Any, user_id: int):
    assert cells.parse_user_id(sent) == user_id


NO_TEXTS = ["0012", "+7", "-0", "00", "3.5", "1e5", "1.5e0", "", " ", "x", "٣", "3 4", "0x3", "1_0", "NaN"]
NO_TEXTS += ["1e+99", "9" * 19, "9" * 5000]
NO_VALUES = [3.5, 2.0**53, math.nan, math.inf, BIGGEST + 1, True, None, [3], {"id": 3}]


@pytest.mark.parametrize("sent", [*NO_TEXTS, *NO_VALUES], ids=lambda value: repr(value)[:20])
def test_what_two_people_could_mean_and_what_is_no_whole_number_is_nobody(sent: Any):
    assert cells.parse_user_id(sent) is None


@pytest.mark.parametrize("value", [1, 1.5, True, None, "28", " 2_8 ", "٢٨", "NaN", "-inf", 2**64, math.nan])
def test_numbers_are_the_same_alone_and_in_a_column(value: Any):
    alone, in_a_column = cells.parse_number(value), cells.parse_numbers([value, 1])

    assert in_a_column is not None
    assert str(in_a_column.tolist()) == str([alone, 1.0])


@pytest.mark.parametrize(
    "value", ["many", "", [1], [], {"n": 1}, 10**400], ids=lambda value: repr(value)[:20]
)
def test_what_is_no_number_is_none_alone_and_in_a_column(value: Any):
    assert (
        cells.parse_numbers([value])
        is cells.parse_numbers([1, value])
        is cells.parse_numbers([value, value])
        is None
    )
    with pytest.raises((ValueError, OverflowError)):
        cells.parse_number(value)


def test_a_value_is_shown_as_it_was_sent_and_never_long():
    assert [cells.display(value) for value in ("a\nb", 10, 1.5, None, True, math.nan)] == [
        '"a\\nb"',
        "10",
        "1.5",
        "null",
        "true",
        "NaN",
    ]
    assert len(cells.display("x" * 10_000)) < 100
    assert cells.display([[1] * 10_000]) == "a list"


def test_the_range_is_that_of_the_features_contract():
    assert cells.limits("active_days_30d") == (1, 30)
    assert cells.limits("purchase_count_30d") == (0, cells.LARGEST)
    assert cells.limits("of_another_model") == (-cells.LARGEST, cells.LARGEST)
