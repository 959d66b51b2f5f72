"""How long users stay, on lifetimes that can be followed by hand."""

import pytest

from churn_assets.retention.survival import Lifetime, kaplan_meier, median_days


def shares(*lifetimes: Lifetime) -> list[tuple[int, float]]:
    return [(step.day, round(step.share, 4)) for step in kaplan_meier(lifetimes)]


def test_without_anybody_still_there_it_is_the_share_who_stayed_longer() -> None:
    gone = [Lifetime(days, True, 1) for days in (0, 10, 10, 30)]

    assert shares(*gone) == [(0, 1.0), (1, 0.75), (11, 0.25), (31, 0.0)]
    assert median_days(kaplan_meier(gone)) == 11


def test_who_is_still_there_counts_until_they_were_last_known_and_then_leaves_the_others_more_weight() -> (
    None
):
    # Of four one goes after 5 days, one is known for 7 days only, and of the other two one goes after 9.
    found = shares(Lifetime(5, True, 1), Lifetime(7, False, 1), Lifetime(9, True, 1), Lifetime(20, False, 1))

    assert found == [(0, 1.0), (6, 0.75), (10, 0.375), (20, 0.375)]


def test_many_alike_are_counted_as_one_by_one() -> None:
    together = shares(Lifetime(3, True, 2), Lifetime(8, False, 3))
    one_by_one = shares(*[Lifetime(3, True, 1)] * 2, *[Lifetime(8, False, 1)] * 3)

    assert together == one_by_one == [(0, 1.0), (4, 0.6), (8, 0.6)]


def test_the_interval_holds_the_share_stays_within_0_and_1_and_narrows_with_more_users() -> None:
    few = kaplan_meier([Lifetime(3, True, 2), Lifetime(8, False, 8)])[1]
    many = kaplan_meier([Lifetime(3, True, 200), Lifetime(8, False, 800)])[1]

    assert 0 < few.low < few.share < few.high < 1
    assert many.share == few.share
    assert many.high - many.low < (few.high - few.low) / 5
    # Of 1,000 at 0.8, Greenwood's standard error is 0.0126.
    assert many.low == pytest.approx(0.7738, abs=2e-4)
    assert many.high == pytest.approx(0.8235, abs=2e-4)


def test_it_ends_where_too_few_are_left_to_say_anything() -> None:
    many = [Lifetime(3, True, 50), Lifetime(9, False, 60), Lifetime(20, True, 1), Lifetime(25, False, 1)]

    assert [step.day for step in kaplan_meier(many)] == [0, 4, 21, 25]
    assert [step.day for step in kaplan_meier(many, fewest=30)] == [0, 4, 9]


def test_of_nobody_nothing_is_known() -> None:
    assert kaplan_meier([]) == []
    assert median_days(kaplan_meier([Lifetime(4, False, 9)])) is None
