"""Save rates from counts that one can work out by hand."""

import numpy as np
import pandas as pd
import pytest

from bench.treatments import CASES, counted, coverage, simulated
from churn_assets.retention import effect as effects
from churn_assets.retention.effect import effect

COLUMNS = ["risk_band", "month", "is_contact", "channel", "churned", "users"]


def counts(*rows):
    """Users by band, month, lot, channel and whether they churned."""
    return pd.DataFrame({name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)})


def arm(is_contact, channel, churned, stayed, *, band="high", month="2026-03"):
    return [
        (band, month, is_contact, channel, True, churned),
        (band, month, is_contact, channel, False, stayed),
    ]


def test_the_save_rate_is_the_share_of_would_be_churners_who_stay() -> None:
    # 50 % of control churn and 40 % of those contacted: of 50 who would have churned, 10 stay.
    found = effect(counts(*arm(True, "email", 400, 600), *arm(False, None, 100, 100)))

    assert found.of_contact is not None
    assert found.of_contact.value == pytest.approx(0.2)
    assert found.by_assignment == found.of_contact
    assert (found.contact_users, found.contact_churners) == (1000, 400)
    assert (found.control_users, found.control_churners, found.reached) == (200, 100, 1.0)
    assert found.reason is None


def test_those_who_were_not_reached_are_compared_with_themselves_and_not_with_the_reached() -> None:
    # Half are reached. These churn at 20 % instead of 40; those who are not, at 60 % whatever the lot.
    found = effect(
        counts(
            *arm(True, "email", 100, 400),
            *arm(True, None, 300, 200),
            *arm(False, None, 250, 250),
        )
    )

    assert found.of_contact is not None
    assert found.by_assignment is not None
    # 40 % against 50 % by assignment; 20 % against 40 % where a contact took place.
    assert found.by_assignment.value == pytest.approx(0.2)
    assert found.of_contact.value == pytest.approx(0.5)
    assert found.reached == 0.5


def test_control_that_was_contacted_anyway_dilutes_the_lot_and_is_taken_out() -> None:
    # Everybody churns at 40 %, contacted at 20 %. 90 % of the one lot and 10 % of the other are contacted.
    found = effect(
        counts(
            *arm(True, "email", 180, 720),
            *arm(True, None, 40, 60),
            *arm(False, "phone", 20, 80),
            *arm(False, None, 360, 540),
        )
    )

    assert found.contacted_control_users == 100
    assert found.reached == pytest.approx(0.8)
    assert found.of_contact is not None
    assert found.of_contact.value == pytest.approx(0.5)
    assert found.by_assignment is not None
    assert found.by_assignment.value == pytest.approx(1 - 0.22 / 0.38)


def test_a_month_with_more_control_and_more_churn_makes_no_effect() -> None:
    # In both months contact changes nothing; together, control would churn more by its months alone.
    found = effect(
        counts(
            *arm(True, "email", 90, 810, month="2026-01"),
            *arm(False, None, 10, 90, month="2026-01"),
            *arm(True, "email", 200, 200, month="2026-02"),
            *arm(False, None, 200, 200, month="2026-02"),
        )
    )

    assert found.of_contact is not None
    assert found.of_contact.value == pytest.approx(0.0)
    assert found.of_contact.low < 0 < found.of_contact.high


def test_a_channel_is_compared_with_the_control_of_the_bands_that_it_was_used_for() -> None:
    # The phone is for those at high risk, where nothing helps; mail for the others, half of whom it saves.
    rows = counts(
        *arm(True, "phone", 320, 80),
        *arm(False, None, 80, 20),
        *arm(True, "email", 50, 450, band="low"),
        *arm(False, None, 40, 160, band="low"),
    )

    phone, email = effect(rows, channel="phone").of_contact, effect(rows, channel="email").of_contact

    assert phone is not None
    assert phone.value == pytest.approx(0.0)
    assert email is not None
    assert email.value == pytest.approx(0.5)


def test_months_with_little_control_are_put_together_with_those_of_a_like_share() -> None:
    # Twice 10 % of control and no effect; then half of all are control, and everybody churns far more.
    rows = [
        *arm(True, "email", 36, 324, month="2026-01"),
        *arm(False, None, 4, 36, month="2026-01"),
        *arm(True, "email", 720, 80, month="2026-02"),
        *arm(False, None, 720, 80, month="2026-02"),
        *arm(True, "email", 36, 324, month="2026-03"),
        *arm(False, None, 4, 36, month="2026-03"),
    ]

    found = effect(counts(*rows)).of_contact

    assert found is not None
    assert found.value == pytest.approx(0.0)


def test_a_channel_leaves_out_bands_with_hardly_any_control() -> None:
    rows = counts(
        *arm(True, "email", 100, 300),
        *arm(False, None, 100, 100),
        *arm(True, "email", 500, 0, band="low"),
        *arm(False, None, 0, 19, band="low"),
    )

    found = effect(rows, channel="email")

    assert (found.contacted_users, found.control_users) == (400, 200)
    assert found.of_contact is not None
    assert found.of_contact.value == pytest.approx(0.5)


def test_a_contact_that_drives_users_away_has_a_negative_save_rate() -> None:
    found = effect(counts(*arm(True, "sms", 600, 400), *arm(False, None, 200, 300))).of_contact

    assert found is not None
    assert found.value == pytest.approx(-0.5)
    assert found.high < 0


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            [*arm(True, "email", 400, 600), *arm(False, None, 40, 59)],
            "only 99 users in the control group of those whose horizon is over; 100 are needed",
        ),
        (
            [*arm(True, "email", 40, 40), *arm(True, None, 400, 500), *arm(False, None, 100, 100)],
            "only 80 users contacted of those whose horizon is over; 100 are needed",
        ),
        (
            [*arm(True, "email", 100, 900), *arm(False, None, 19, 181)],
            "only 19 of the control group churned of those whose horizon is over; 20 are needed",
        ),
        (
            [*arm(True, "email", 400, 600), *arm(False, "email", 95, 95), *arm(False, None, 5, 5)],
            "the lot changed the contact of only 5% of the users",
        ),
        ([], "only 0 users in the control group"),
    ],
    ids=[
        "little control",
        "few contacted",
        "few churners",
        "control was contacted like the others",
        "nobody",
    ],
)
def test_too_few_are_no_number_but_a_reason(rows, reason) -> None:
    found = effect(counts(*rows))

    assert (found.of_contact, found.by_assignment) == (None, None)
    assert found.reason is not None
    assert found.reason.startswith(reason)


def test_the_same_counts_give_the_same_interval_and_another_seed_another() -> None:
    rows = counts(*arm(True, "email", 400, 600), *arm(False, None, 100, 100))

    assert effect(rows) == effect(rows.iloc[::-1])
    assert effect(rows) != effect(rows, seed=1)


def test_bands_count_by_their_users() -> None:
    # 1,000 at high risk, 50 % churning of 60; 500 at low risk, 10 % of 20: of 700 who would churn, 150 stay.
    found = effect(
        counts(
            *arm(True, "email", 450, 450),
            *arm(False, None, 60, 40),
            *arm(True, "email", 45, 405, band="low"),
            *arm(False, None, 10, 40, band="low"),
        )
    ).of_contact

    assert found is not None
    assert found.value == pytest.approx(150 / 700)


def test_the_interval_is_as_wide_as_the_formula_for_two_shares_says() -> None:
    found = effect(counts(*arm(True, "email", 400, 600), *arm(False, None, 100, 100))).of_contact

    # The delta method: of a ratio of two shares, each of a binomial count.
    deviation = 0.8 * np.sqrt(0.6 / 400 + 0.5 / 100)
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_a_tenfold_of_users_makes_the_interval_about_a_third_as_wide() -> None:
    few, many = (
        effect(counts(*arm(True, "email", 400 * n, 600 * n), *arm(False, None, 100 * n, 100 * n))).of_contact
        for n in (1, 10)
    )

    assert few is not None
    assert many is not None
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(np.sqrt(10), rel=0.1)


def test_the_interval_covers_a_known_truth_where_comparing_reached_with_not_misleads(monkeypatch) -> None:
    monkeypatch.setattr(effects, "REPLICATES", 400)

    found = coverage(CASES[0], runs=40)

    assert found["estimates"] == 40
    assert found["covered"] >= 0.85  # 40 runs of 95 %: below this once in 200
    assert found["mean"] == pytest.approx(found["truth"], abs=0.03)
    assert found["reached against not"] > found["truth"] + 0.1


def test_counting_users_loses_none() -> None:
    users = simulated(CASES[0], np.random.default_rng(0))

    assert counted(users)["users"].sum() == len(users)
