"""What the engines plan: only the files of dates that are asked for, no cross product, and little Python."""

import datetime as dt
import re
from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.connect.dataframe import DataFrame as ConnectFrame

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.writes import NewRows
from churn_assets.tables import Table
from churn_assets.transforms import accounting, activity, conformance, features, labels, recurrence
from churn_assets_tests.conftest import settings_in
from churn_assets_tests.rows import NOON, clean, day, frame, landed_rows, line, utc

PlanOf = Callable[[DataFrame], str]

DAYS = DateRange(day(-2), day(1))
ONE = DateRange(day(-1), day(-1))

# By engine: Spark's names, and DataFusion's, which Sail plans with.
CROSS_PRODUCTS = ("CartesianProduct", "BroadcastNestedLoopJoin", "CrossJoinExec", "NestedLoopJoinExec")


@pytest.fixture(scope="module")
def tables_of_four_days(
    tmp_path_factory: pytest.TempPathFactory, deployment: str, spark: SparkSession
) -> Callable[[Table], DataFrame]:
    """Every table up to the features, of two users on four days, read from its files."""
    lake = FolderLakehouse(settings_in(tmp_path_factory.mktemp("lake"), deployment=deployment), lambda: spark)
    lines = (line(f"{user}-{each}", user, each.isoformat()) for user in (1, 2) for each in DAYS.days())
    landed = landed_rows(spark, *lines, at=utc(2026, 3, 20))
    lake.write(tables.LANDED_EVENTS, landed)
    batch = clean(landed, lake.read(tables.EVENTS))
    lake.write(tables.QUARANTINED_EVENTS, batch.quarantined)
    lake.write(tables.EVENTS, NewRows(batch.events, absent_at=lake.version(tables.EVENTS)))
    events = lake.read(tables.EVENTS)
    lake.write(tables.USERS, activity.users(events))
    lake.write(tables.USER_DAILY_ACTIVITY, activity.user_daily_activity(events, DAYS), DAYS)
    days, users = lake.read(tables.USER_DAILY_ACTIVITY), lake.read(tables.USERS)
    months = frame(spark, tables.USER_MONTHLY_ACTIVITY, [])
    lake.write(tables.USER_FEATURES, features.user_features(days, months, users, DAYS), DAYS)
    return lake.read


@pytest.fixture
def plan_of(capsys: pytest.CaptureFixture[str]) -> PlanOf:
    """The plan that an engine runs, as its text."""

    def plan(rows: DataFrame) -> str:
        # Sail's long form leaves out the paths of files, and Spark's short one cuts off its filters.
        rows.explain("simple" if isinstance(rows, ConnectFrame) else "formatted")
        return capsys.readouterr().out.rpartition("Physical Plan")[2]

    return plan


def dates_read(plan: str, column: str) -> set[dt.date]:
    """The dates in Sail's paths of files, or between the bounds of Spark's partition filters."""
    in_paths = set(re.findall(rf"{column}=(\d{{4}}-\d\d-\d\d)", plan))
    if in_paths:
        return set(map(dt.date.fromisoformat, in_paths))
    # Of several scans, all that any of them reads.
    found = set[dt.date]()
    for filters in re.findall(r"PartitionFilters: (.*)", plan):
        bounds = re.findall(rf"{column}#\d+ ([<>]=) (\d{{4}}-\d\d-\d\d)", filters)
        if bounds:
            first = max(dt.date.fromisoformat(text) for sign, text in bounds if sign == ">=")
            last = min(dt.date.fromisoformat(text) for sign, text in bounds if sign == "<=")
            found |= set(DateRange(first, last).days())
    return found


def test_activity_of_a_day_reads_the_files_of_that_day(tables_of_four_days, plan_of: PlanOf):
    rows = activity.user_daily_activity(tables_of_four_days(tables.EVENTS), ONE)

    assert dates_read(plan_of(rows), "event_date") == {day(-1)}


def test_a_label_reads_the_days_of_its_horizon_and_its_own_date(tables_of_four_days, plan_of: PlanOf):
    plan = plan_of(
        labels.churn_labels(
            tables_of_four_days(tables.USER_FEATURES), tables_of_four_days(tables.EVENTS), ONE, horizon_days=2
        )
    )

    assert dates_read(plan, "feature_date") == {day(-1)}
    assert dates_read(plan, "event_date") == {day(0), day(1)}


def test_features_read_no_day_after_their_date(tables_of_four_days, plan_of: PlanOf):
    rows = features.user_features(
        tables_of_four_days(tables.USER_DAILY_ACTIVITY),
        tables_of_four_days(tables.USER_MONTHLY_ACTIVITY),
        tables_of_four_days(tables.USERS),
        ONE,
    )

    # Spark is told from the first of the month on, and finds no files before the day before.
    read = dates_read(plan_of(rows), "event_date")
    assert {day(-2), day(-1)} <= read
    assert max(read) == day(-1)


COMPUTED: dict[str, Callable[[Callable[[Table], DataFrame]], DataFrame]] = {
    "users": lambda read: activity.users(read(tables.EVENTS)),
    "daily activity": lambda read: activity.user_daily_activity(read(tables.EVENTS), DAYS),
    "monthly activity": lambda read: activity.user_monthly_activity(read(tables.USER_DAILY_ACTIVITY), DAYS),
    "summary": lambda read: activity.daily_summary(
        read(tables.USER_DAILY_ACTIVITY), read(tables.USERS), DAYS
    ),
    "labels": lambda read: labels.churn_labels(read(tables.USER_FEATURES), read(tables.EVENTS), ONE, 1),
    "recurring ids": lambda read: recurrence.recurring_ids(read(tables.LANDED_EVENTS), read(tables.EVENTS)),
    "a contract's check": lambda read: conformance.violations(
        tables.USER_FEATURES, read(tables.USER_FEATURES), read(tables.USERS)
    ),
}
WITH_PYTHON: dict[str, Callable[[Callable[[Table], DataFrame]], DataFrame]] = {
    "features": lambda read: features.user_features(
        read(tables.USER_DAILY_ACTIVITY), read(tables.USER_MONTHLY_ACTIVITY), read(tables.USERS), DAYS
    ),
    "the account of lines": lambda read: accounting.deliveries(
        read(tables.LANDED_EVENTS), read(tables.QUARANTINED_EVENTS), read(tables.EVENTS)
    ),
}


@pytest.mark.parametrize("name", [*COMPUTED, *WITH_PYTHON])
def test_nothing_is_joined_as_a_cross_product(tables_of_four_days, plan_of: PlanOf, name: str):
    plan = plan_of((COMPUTED | WITH_PYTHON)[name](tables_of_four_days))

    assert [word for word in CROSS_PRODUCTS if word in plan] == []


def test_a_cross_product_would_be_seen(tables_of_four_days, plan_of: PlanOf):
    users = tables_of_four_days(tables.USERS)

    plan = plan_of(users.crossJoin(users.select("last_seen_date")))
    assert [word for word in CROSS_PRODUCTS if word in plan]


def runs_python(plan: str) -> bool:
    # Sail names functions of Python with an @ and a random id; its columns end in @ and a number.
    return bool(re.search(r"InArrow|InPandas|EvalPython|MapPartitionsExec|\w@\w{20,}", plan))


@pytest.mark.parametrize("name", COMPUTED)
def test_the_engine_computes_alone_what_it_can(tables_of_four_days, plan_of: PlanOf, name: str):
    assert not runs_python(plan_of(COMPUTED[name](tables_of_four_days)))


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_python_computes_the_rest(tables_of_four_days, plan_of: PlanOf, name: str):
    assert runs_python(plan_of(WITH_PYTHON[name](tables_of_four_days)))


def test_the_lines_of_past_days_are_not_read_again(
    lake: FolderLakehouse, spark: SparkSession, plan_of: PlanOf
):
    for days_ago in (2, 1, 0):
        at = NOON - dt.timedelta(days=days_ago)
        lake.write(tables.LANDED_EVENTS, landed_rows(spark, line("x", 1, "2026-02-01"), at=at))
    last = (NOON - dt.timedelta(days=1)).timestamp() * 1_000_000

    rows = accounting.not_yet_cleaned(lake.read(tables.LANDED_EVENTS), round(last))
    read = re.findall(r"_processing_date(?:=|#\d+ >= )(\d{4}-\d\d-\d\d)", plan_of(rows))
    assert min(read) == (NOON - dt.timedelta(days=1)).date().isoformat()
