"""The contracts themselves."""

import datetime as dt

import dagster as dg
import pytest

from churn_assets.assets.dagster_partitions import feature_dates, label_dates, partition_mapping
from churn_assets.tables import (
    CHURN_LABELS,
    DATED,
    LANDED_EVENTS,
    TABLES,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    WINDOW_FEATURES,
    Table,
    WriteMode,
)
from churn_assets_tests.conftest import MakeSettings


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_column_says_what_it_means(table: Table) -> None:
    assert table.comment
    assert all(len(column.comment) > 5 and column.comment.endswith(".") for column in table.columns)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_key_and_partition_column_are_columns_that_are_never_null(table: Table) -> None:
    by_name = {column.name: column for column in table.columns}

    for name in (*table.key, *filter(None, [table.partition_column])):
        assert not by_name[name].nullable


@pytest.mark.parametrize(
    "table", [t for t in TABLES if t.write_mode is WriteMode.REPLACE_PARTITIONS], ids=str
)
def test_what_is_replaced_by_date_has_its_date_in_the_key(table: Table) -> None:
    assert table.partition_column in table.key


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_lineage_names_columns_that_exist(table: Table) -> None:
    assert set(table.lineage) <= set(table.column_names)
    for sources in table.lineage.values():
        assert all(source.column in source.table.column_names for source in sources)


@pytest.mark.parametrize("table", [t for t in TABLES if t is not LANDED_EVENTS], ids=str)
def test_every_column_but_timestamps_of_the_run_has_a_lineage(table: Table) -> None:
    assert set(table.content_columns) <= set(table.lineage)


def test_a_request_needs_the_six_features_of_the_article_in_its_order() -> None:
    assert WINDOW_FEATURES == [
        "event_count_30d",
        "active_days_30d",
        "days_since_last_event",
        "purchase_count_30d",
        "account_age_days",
        "rolling_7d_events",
    ]


def test_feature_dates_end_with_the_last_date_of_the_settings(make_settings: MakeSettings) -> None:
    dates = feature_dates(make_settings(start_date="2026-01-01", end_date="2026-01-03"))

    assert dates.get_partition_keys() == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_label_dates_end_where_the_horizon_is_no_longer_over(make_settings: MakeSettings) -> None:
    past = make_settings(start_date="2026-01-01", end_date="2026-01-10", horizon_days=7)
    today = dt.datetime.now(dt.UTC).date()

    assert label_dates(past).get_partition_keys() == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert label_dates(make_settings()).get_last_partition_key() == str(today - dt.timedelta(days=31))


def test_too_few_days_for_any_label_are_no_error(make_settings: MakeSettings) -> None:
    few = make_settings(start_date="2026-01-01", end_date="2026-01-05", horizon_days=30)

    assert label_dates(few).get_partition_keys() == []


def test_a_feature_date_reads_thirty_days_with_their_months_and_a_label_the_days_after_it(
    make_settings: MakeSettings,
) -> None:
    settings, offsets = make_settings(horizon_days=30), []
    for reads in (USER_FEATURES.reads[0], CHURN_LABELS.reads[1]):
        mapping = partition_mapping(reads, settings)
        assert isinstance(mapping, dg.TimeWindowPartitionMapping)
        offsets.append((mapping.start_offset, mapping.end_offset))

    assert offsets == [(-59, 0), (1, 30)]


@pytest.mark.parametrize(
    ("date", "first"),
    [("2026-01-31", "2026-01-01"), ("2026-02-28", "2026-02-01"), ("2026-02-27", "2026-02-27")],
    ids=["a month that ends", "a short one", "a date that ends none"],
)
def test_a_month_reads_its_own_days_on_its_last_one(
    make_settings: MakeSettings, date: str, first: str
) -> None:
    (reads,), day = USER_MONTHLY_ACTIVITY.reads, dt.date.fromisoformat(date)

    assert reads.window(day, make_settings()) == (dt.date.fromisoformat(first), day)
    # Dagster knows no such mapping: to it each date reads itself.
    assert partition_mapping(reads, make_settings()) is None


def test_months_are_read_from_the_first_date_on(make_settings: MakeSettings) -> None:
    months = USER_FEATURES.reads[1]
    first, date = dt.date(2026, 1, 1), dt.date(2026, 4, 9)

    assert months.window(date, make_settings(start_date="2026-01-01")) == (first, date)
    dates = feature_dates(make_settings(start_date="2026-01-01", end_date="2026-04-09"))
    mapping = partition_mapping(months, make_settings())
    assert mapping is not None
    read = mapping.get_upstream_mapped_partitions_result_for_partitions(
        dates.subset_with_partition_keys(["2026-04-08"]), dates, dates
    )
    assert read.partitions_subset == dates.subset_with_partition_keys(dates.get_partition_keys()[:-1])


@pytest.mark.parametrize("table", DATED, ids=str)
def test_what_a_table_reads_stands_before_it(table: Table) -> None:
    before = TABLES[: TABLES.index(table)]

    assert all(reads.upstream in before for reads in table.reads)


@pytest.mark.parametrize("table", DATED, ids=str)
def test_what_is_read_of_a_table_is_its_dates_or_one_of_its_headings(table: Table) -> None:
    for reads in table.reads:
        upstream = reads.upstream
        assert reads.heading in upstream.headings if upstream.headings else upstream.partition_column
