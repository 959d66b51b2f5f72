"""Uplift is learned from the lot, and ranks a list only where that surely earns more."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench import uplift as bench
from churn_assets.retention import uplift
from churn_assets.retention.uplift import TLearner, compared

EQUAL, NEWCOMERS = bench.CASES[1], bench.CASES[3]
BEFORE, LATER = dt.date(2026, 3, 1), dt.date(2026, 4, 1)


def users(*groups, events=1.0, on=BEFORE):
    """Users by lot and whether they churned, as many as said, with so many events."""
    rows = [
        {"is_contact": lot, "churned": churned, "event_count_30d": events, "feature_date": on}
        for lot, churned, number in groups
        for _ in range(number)
    ]
    return pd.DataFrame(rows).assign(churn_probability=0.5, value=50.0, user_id=range(len(rows)))


def of_lots(contact, control, **what):
    """Users of whom so many churned and stayed, of each lot."""
    lots = [(True, contact), (False, control)]
    return users(*((lot, bool(1 - place), of[place]) for lot, of in lots for place in (0, 1)), **what)


def test_uplift_is_how_much_less_such_users_churn_where_they_are_to_be_contacted() -> None:
    # With one event contact lowers churn from 60 to 20 %; with nine it changes nothing.
    saved = of_lots((80, 320), (240, 160), events=1.0)
    not_saved = of_lots((200, 200), (200, 200), events=9.0)

    learned = TLearner.fitted(pd.concat([saved, not_saved], ignore_index=True))

    asked = pd.DataFrame({"event_count_30d": [1.0, 9.0], "churn_probability": [0.9, 0.9]})
    # Half-way to what one rate for all would say, which is 0.2 of 0.5; and models are regularised.
    everybody = 0.2 / 0.5 * 0.9
    expected = [(0.4 + everybody) / 2, (0.0 + everybody) / 2]
    assert learned.uplift(asked, reached=1.0) == pytest.approx(expected, abs=0.05)


def test_who_is_not_always_reached_is_saved_by_less_than_a_contact_and_never_beyond_the_risk() -> None:
    # 25 % churn instead of 50; half are reached, so a contact would save all.
    learned = TLearner.fitted(of_lots((100, 300), (200, 200)))
    asked = pd.DataFrame({"event_count_30d": [1.0, 1.0], "churn_probability": [0.5, 0.1]})

    assert learned.uplift(asked, reached=1.0)[0] == pytest.approx(0.25, abs=0.01)
    assert learned.uplift(asked, reached=0.5) == pytest.approx([0.5, 0.1], abs=0.01)


def test_a_contact_that_drives_users_away_has_negative_uplift() -> None:
    learned = TLearner.fitted(of_lots((300, 100), (200, 200)))
    asked = pd.DataFrame({"event_count_30d": [1.0], "churn_probability": [0.5]})

    assert learned.uplift(asked, reached=1.0) == pytest.approx([-0.25], abs=0.01)


class Wrong(TLearner):
    """Knows nothing, and takes one user for as good as another."""

    def __init__(self) -> None:
        super().__init__(None, None, [], 0.0)
        self._chance = np.random.default_rng(1)

    def churn(self, rows):
        return self._chance.random(len(rows)), self._chance.random(len(rows))


def test_what_an_order_earns_is_judged_by_the_lot_however_wrong_the_models_are() -> None:
    later = bench.listed(replace(NEWCOMERS, users=60_000, control=0.3), np.random.default_rng(4))
    later["contact_share"] = 0.7

    judged = uplift._gained_more(Wrong(), later, reached=0.7)

    by_risk = uplift._places((later["churn_probability"] * later["value"]).to_numpy())
    # A random order has everybody on half of all lists.
    truth = (later["saved"] * 0.7 * later["value"] * (0.5 - by_risk)).mean()
    noise = judged.std() / len(judged) ** 0.5
    assert abs(judged.mean() - truth) < 3 * noise < abs(truth)


class AsRiskSays(TLearner):
    """Takes a fifth of each user's risk for what a contact saves."""

    def __init__(self) -> None:
        super().__init__(None, None, [], 0.2)

    def churn(self, rows):
        risk = rows["churn_probability"].to_numpy()
        return 0.8 * risk, risk


def test_where_uplift_says_what_risk_says_both_lists_are_one_and_earn_the_same() -> None:
    later = bench.listed(replace(bench.CASES[0], users=500), np.random.default_rng(4))
    later["contact_share"] = 0.9
    assert later["value"].nunique() == 500

    assert not uplift._gained_more(AsRiskSays(), later, reached=0.7).any()


def test_a_list_has_a_user_on_the_share_of_lengths_from_the_rank_on() -> None:
    assert uplift._places(np.array([5.0, 9.0, 7.0, 1.0])).tolist() == [0.375, 0.875, 0.625, 0.125]


def test_where_one_kind_of_user_is_saved_uplift_is_taken_and_truly_earns_more() -> None:
    case = replace(NEWCOMERS, users=8_000, control=0.5)
    found = [bench.verdict(case, seed) for seed in range(3)]

    assert sum(bench.is_taken(one) for one in found) >= 2
    assert bench.earned_more(case, 0) > 0.3


def test_where_all_are_saved_alike_it_is_not_taken() -> None:
    # Of 160 draws of bench.uplift it is in two.
    found = [bench.verdict(replace(EQUAL, users=2_000, control=0.3), seed) for seed in range(10)]

    assert all(one.uplift_gain is not None for one in found)
    assert sum(bench.is_taken(one) for one in found) <= 1


def test_equal_rows_in_any_order_give_an_equal_verdict() -> None:
    rows = bench.listed(replace(NEWCOMERS, users=2_000, control=0.3), np.random.default_rng(7))

    assert compared(rows, 0.7) == compared(rows.sample(frac=1, random_state=3), 0.7)


ENOUGH = {"contact": (150, 150), "control": (60, 60)}


@pytest.mark.parametrize(
    ("earlier", "later", "reason"),
    [
        ({"control": (40, 59)}, {}, "only 99 users in the control group; 100 are needed, before 2026-04-01"),
        ({"contact": (50, 49)}, {}, "only 99 users to be contacted; 100 are needed, before 2026-04-01"),
        (
            {"control": (0, 120)},
            {},
            "only 0 users in the control group churned; 20 are needed, before 2026-04-01",
        ),
        ({"contact": (150, 0)}, {}, "only 0 users to be contacted stayed; 20 are needed, before 2026-04-01"),
        ({}, {"control": (0, 0)}, "only 0 users in the control group; 100 are needed, from 2026-04-01 on"),
        (
            {},
            {"control": (120, 19)},
            "only 19 users in the control group stayed; 20 are needed, from 2026-04-01 on",
        ),
    ],
    ids=["few control", "few contacts", "one class", "the other class", "no control later", "few later"],
)
def test_too_few_are_no_comparison_but_a_reason(earlier, later, reason) -> None:
    rows = pd.concat(
        [
            of_lots(**{**ENOUGH, **earlier}, on=BEFORE),
            of_lots(**{**ENOUGH, **later}, on=LATER),
        ],
        ignore_index=True,
    )  # fmt: skip

    assert compared(rows, 1.0) == (None, None, None, reason)


def test_without_a_later_date_and_without_anybody_there_is_a_reason_too() -> None:
    alone = of_lots(**ENOUGH)

    assert (
        compared(alone, 1.0).uplift_reason == "all 420 users were first listed around 2026-03-01: none later"
    )
    assert compared(alone.iloc[:0], 1.0).uplift_reason == "no listed user has both a label and features"
