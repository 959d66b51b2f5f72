"""What tables say of themselves survives the trip through Dagster's history, and is what they hold."""

import datetime as dt
import json

from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.lakehouse.evidence import DATED_TABLES, Evidence, gather
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import DAILY_SUMMARY, EVENTS, USER_DAILY_ACTIVITY, USER_FEATURES, USERS
from churn_assets_tests.rows import NOON, D, day, frame

DAYS = st.frozensets(st.dates(dt.date(2020, 1, 1), dt.date(2020, 3, 1)))
NAMES = st.frozensets(st.sampled_from([table.name for table in DATED_TABLES]))


COUNTS = st.dictionaries(st.dates(dt.date(2020, 1, 1), dt.date(2020, 3, 1)), st.integers(1, 9))


@given(
    st.builds(
        Evidence,
        events=COUNTS,
        activity=DAYS,
        summary=DAYS,
        ages=DAYS,
        labelled=DAYS,
        unlabelled=DAYS,
        written=NAMES,
    )
)
def test_evidence_comes_back_as_it_was_written(evidence: Evidence) -> None:
    assert Evidence.from_json(json.loads(json.dumps(evidence.as_json()))) == evidence


def event(number: int, user: int, on: dt.date) -> tuple:
    return (f"e{number}", user, dt.datetime.combine(on, dt.time(9), dt.UTC), on, "page_view", "DE", NOON)


def test_where_nothing_has_been_computed_all_days_are_uncounted_and_no_table_is_made(
    lake: Lakehouse, spark: SparkSession
) -> None:
    lake.write(EVENTS, frame(spark, EVENTS, [event(1, 1, day(-2)), event(2, 1, D)]))

    found = gather(lake)

    assert found == Evidence(events={day(-2): 1, D: 1}, activity=frozenset({day(-2), D}))
    assert lake.version(USER_DAILY_ACTIVITY) == -1


def test_each_date_is_behind_for_its_own_reason(lake: Lakehouse, spark: SparkSession) -> None:
    events = [event(1, 1, day(-2)), event(2, 1, D), event(3, 1, D), event(4, 2, day(-1))]
    lake.write(EVENTS, frame(spark, EVENTS, events))
    # User 2 is known to have come a day later, and one of the two events of D has not been counted.
    lake.write(USERS, frame(spark, USERS, [(1, day(-2), D, "DE"), (2, day(-1), day(-1), "DE")]))
    activity = [(1, day(-2), 1, 0), (1, D, 1, 0), (2, day(-1), 1, 0)]
    lake.write(USER_DAILY_ACTIVITY, frame(spark, USER_DAILY_ACTIVITY, activity), DateRange(day(-2), D))
    summary = [(day(-2), 1, 1, 1, 0), (day(-1), 1, 1, 0, 0), (D, 2, 1, 1, 0)]
    lake.write(DAILY_SUMMARY, frame(spark, DAILY_SUMMARY, summary), DateRange(day(-2), D))
    features = [(1, D, 3, 2, 0, 0, 2, 3), (2, D, 1, 1, 1, 0, 0, 1), (1, day(-1), 1, 1, 1, 0, 1, 1)]
    lake.write(USER_FEATURES, frame(spark, USER_FEATURES, features), DateRange(day(-1), D))

    assert gather(lake) == Evidence(
        events={day(-2): 1, day(-1): 1, D: 2},
        activity=frozenset({D}),
        summary=frozenset({day(-1), D}),
        ages=frozenset({D}),
        unlabelled=frozenset({day(-1), D}),
        written=frozenset({"user_daily_activity", "daily_summary", "user_features"}),
    )
