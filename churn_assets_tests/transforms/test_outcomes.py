import datetime as dt

import pytest

from churn_assets import tables
from churn_assets.transforms import outcomes
from churn_assets_tests.rows import NOON, D, day, frame, rows_of

LATER = NOON + dt.timedelta(hours=1)


def predicted(user, date, probability=0.25, version=1, at=NOON):
    return (user, date, probability, probability >= 0.5, at, version)


def outcome_rows(spark, predictions, labels, trained_until):
    table = outcomes.prediction_outcomes(
        frame(spark, tables.CHURN_PREDICTIONS, predictions),
        frame(spark, tables.CHURN_LABELS, labels),
        trained_until,
    )
    assert table.dtypes == [(column.name, column.type) for column in tables.PREDICTION_OUTCOMES.columns]
    return rows_of(table)


def test_a_prediction_is_put_beside_the_label_of_its_user_and_date(spark):
    predictions = [predicted(1, D, 0.75), predicted(1, day(1), 0.5, at=LATER), predicted(2, D)]
    labels = [(1, D, 1), (1, day(1), 0), (2, D, 0)]
    assert outcome_rows(spark, predictions, labels, {1: day(-1)}) == [
        (1, D, 0.75, True, 1, True, 1, NOON),
        (1, day(1), 0.5, True, 0, True, 1, LATER),
        (2, D, 0.25, False, 0, True, 1, NOON),
    ]


def test_what_has_no_label_yet_or_was_never_scored_has_no_outcome(spark):
    predictions = [predicted(1, D), predicted(1, day(1))]
    rows = outcome_rows(spark, predictions, [(1, D, 1), (2, D, 1)], {1: day(-1)})
    assert [row[:2] for row in rows] == [(1, D)]


def test_only_dates_after_every_horizon_of_its_training_judge_a_version(spark):
    dates = [day(offset) for offset in (-1, 0, 1)]
    predictions = [
        *(predicted(1, date) for date in dates),
        *(predicted(2, date, version=2) for date in dates),
        *(predicted(3, date, version=3) for date in dates),
    ]
    labels = [(user, date, 0) for user in (1, 2, 3) for date in dates]
    rows = outcome_rows(spark, predictions, labels, {1: D, 2: day(-1)})
    judges = {(row[6], row[1]) for row in rows if row[5]}
    assert judges == {(1, day(1)), (2, D), (2, day(1))}  # nobody knows when version 3 was trained
    assert len(rows) == 9


def test_without_any_known_version_no_outcome_judges(spark):
    assert [row[5] for row in outcome_rows(spark, [predicted(1, D)], [(1, D, 1)], {})] == [False]


def test_outcomes_are_counted_by_version_and_four_digits_of_the_probability(spark):
    rows = [
        (1, D, 0.12341, False, 1, True, 1, NOON),
        (2, D, 0.12349, False, 0, True, 1, NOON),
        (3, D, 1.0, True, 1, True, 1, NOON),
        (4, D, 0.12345, False, 1, True, 2, NOON),
    ]
    counted = outcomes.counted_by_probability(frame(spark, tables.PREDICTION_OUTCOMES, rows))
    first, second, third = rows_of(counted)
    assert first[:4] == (1, 1234, 2, 1)
    assert first[4:] == pytest.approx((0.2469, 0.12341**2 + 0.12349**2, 0.12341))
    assert second == (1, 10000, 1, 1, 1.0, 1.0, 1.0)
    assert third[:4] == (2, 1234, 1, 1)
