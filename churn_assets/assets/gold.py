"""Gold: the users' activity, their features at the end of each day, and their labels."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key, by_date_key
from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import Assets, table_asset
from churn_assets.assets.dagster_partitions import (
    ONE_RUN_PER_RANGE,
    date_range,
    feature_dates,
    label_dates,
    partition_mapping,
)
from churn_assets.contracts import Reads
from churn_assets.dates import DateRange
from churn_assets.errors import SettingsError
from churn_assets.event_days import ranges
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.io_manager import MONTHS, SAME_DATES, WHOLE_MONTHS
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.withdrawn import withdraw_immature
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    DAILY_SUMMARY,
    DATED,
    EVENTS,
    FEATURE_WINDOW_DAYS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    USERS,
    Table,
)
from churn_assets.transforms import activity as activity_transforms
from churn_assets.transforms import features as feature_transforms
from churn_assets.transforms import labels as label_transforms


def gold_assets(settings: Settings) -> Assets:
    """Return activity by day and by month, the daily summary, features and labels."""
    by_day = {"partitions_def": feature_dates(settings), "backfill_policy": ONE_RUN_PER_RANGE}
    horizon_days = settings.horizon_days

    @dg.asset(
        **table_asset(USER_DAILY_ACTIVITY, settings),
        **by_day,
        ins=reading_as(USER_DAILY_ACTIVITY, settings, events=EVENTS),
        code_version=code_version(activity_transforms.user_daily_activity),
    )
    def user_daily_activity(context: dg.AssetExecutionContext, events: DataFrame) -> DataFrame:
        lake: Lakehouse = context.resources.lakehouse
        dates, first = date_range(context), coverage.covered_days(lake, dt.datetime.now(dt.UTC)).first
        # Stray events before the data's first day are no user's history.
        return activity_transforms.user_daily_activity(
            events, DateRange(max(dates.start, first or dates.start), dates.end)
        )

    @dg.asset(
        **table_asset(DAILY_SUMMARY, settings),
        **by_day,
        ins=reading_as(DAILY_SUMMARY, settings, activity=USER_DAILY_ACTIVITY, users=USERS),
        code_version=code_version(activity_transforms.daily_summary),
    )
    def daily_summary(context: dg.AssetExecutionContext, activity: DataFrame, users: DataFrame) -> DataFrame:
        return activity_transforms.daily_summary(activity, users, date_range(context))

    @dg.asset(
        **table_asset(USER_MONTHLY_ACTIVITY, settings),
        **by_day,
        ins=reading_as(USER_MONTHLY_ACTIVITY, settings, activity=USER_DAILY_ACTIVITY),
        deps=[by_date_key(USER_DAILY_ACTIVITY, MONTHS)],
        code_version=code_version(activity_transforms.user_monthly_activity),
    )
    def user_monthly_activity(context: dg.AssetExecutionContext, activity: DataFrame) -> DataFrame:
        return activity_transforms.user_monthly_activity(activity, date_range(context))

    @dg.asset(
        **table_asset(USER_FEATURES, settings),
        **by_day,
        ins=reading_as(
            USER_FEATURES,
            settings,
            activity=USER_DAILY_ACTIVITY,
            months=USER_MONTHLY_ACTIVITY,
            users=USERS,
        ),
        code_version=code_version(feature_transforms.user_features, FEATURE_WINDOW_DAYS),
    )
    def user_features(
        context: dg.AssetExecutionContext, activity: DataFrame, months: DataFrame, users: DataFrame
    ) -> DataFrame:
        dates = date_range(context)
        rows = _rows_read(context.resources.lakehouse, dates)
        return feature_transforms.user_features(activity, months, users, dates, rows)

    @dg.asset(
        **table_asset(CHURN_LABELS, settings),
        partitions_def=label_dates(settings),
        backfill_policy=ONE_RUN_PER_RANGE,
        ins=reading_as(CHURN_LABELS, settings, features=USER_FEATURES, events=EVENTS),
        code_version=code_version(
            label_transforms.churn_labels,
            horizon_days,
            settings.staying_types,
            settings.label_min_active_share,
        ),
    )
    def churn_labels(context: dg.AssetExecutionContext, features: DataFrame, events: DataFrame) -> DataFrame:
        lake: Lakehouse = context.resources.lakehouse
        dates = date_range(context)
        _require_event_types(lake, settings.staying_types)
        withdraw_immature(lake, dt.datetime.now(dt.UTC), (CHURN_LABELS,))
        unlabelled = _unlabelled_dates(lake, dates)
        if unlabelled:
            context.add_output_metadata({"unlabelled_dates": f"{len(unlabelled)}: {ranges(unlabelled)}"})
        return label_transforms.churn_labels(
            features,
            events,
            dates,
            horizon_days,
            event_types=settings.staying_types,
            unlabelled=unlabelled,
        )

    return [user_daily_activity, daily_summary, user_monthly_activity, user_features, churn_labels]


def _rows_read(lake: Lakehouse, dates: DateRange) -> int:
    """Return about how many rows of activity and months the features of these dates read."""
    first = feature_transforms.first_whole_day(dates.start)
    of_days, of_months = map(lake.partition_rows, (USER_DAILY_ACTIVITY, USER_MONTHLY_ACTIVITY))
    days = sum(count for day, count in of_days.items() if first <= day <= dates.end)
    return days + sum(count for day, count in of_months.items() if day < first)


def _require_event_types(lake: Lakehouse, staying_types: Sequence[str]) -> None:
    """Refuse event types that no event has: every user would have churned.

    Raises:
        SettingsError: no event of Silver has one of them; the message names the existing types.
    """
    if not staying_types:
        return
    types = lake.read(EVENTS).select("event_type")
    if types.where(F.col("event_type").isin(*staying_types)).limit(1).count():
        return
    existing = sorted(row["event_type"] for row in types.distinct().collect() if row["event_type"])
    more = f" and {len(existing) - 10} more" if len(existing) > 10 else ""
    raise SettingsError(
        f"CHURN_LABEL_EVENT_TYPES={','.join(staying_types)}, but no event in {lake.table_name(EVENTS)} is of "
        f"such a type, so all would have churned. There are: {', '.join(existing[:10]) or 'none'}{more}. "
        "Labels stay as they are."
    )


def _unlabelled_dates(lake: Lakehouse, dates: DateRange) -> list[dt.date]:
    """Return the dates that get no labels: their horizons are over, but have too few days with events.

    They are no error: a range may contain them, and rows that they have from before must be removed.

    Raises:
        ImmatureLabelError: a horizon is not complete, and there is no row to remove.
    """
    settings = lake.settings
    days = coverage.covered_days(lake, dt.datetime.now(dt.UTC))
    complete_to = days.last or settings.start_date
    last = label_transforms.last_labelled_date(complete_to, settings.horizon_days)
    beyond = [day for day in dates.days() if day > last or (days.first and day < days.first)]
    rows_by_date = lake.partition_rows(CHURN_LABELS) if beyond else {}
    if not all(rows_by_date.get(day) for day in beyond if day > last):
        label_transforms.require_mature(dates, complete_to, settings.horizon_days)
    return sorted({*coverage.unlabelled(days, dates, settings), *beyond})


def reading_as(table: Table, settings: Settings, **inputs: Table) -> dict[str, dg.AssetIn]:
    """Return what a table reads as inputs by these names, each cut to the contract's window."""
    by_upstream = {reads.upstream: reads for reads in table.reads}
    return {name: _reading(table, by_upstream[upstream], settings) for name, upstream in inputs.items()}


def _reading(table: Table, reads: Reads, settings: Settings) -> dg.AssetIn:
    # Dagster calls a partition unsynced where any that it reads has changed, history or not, but compares
    # none where all are read. So it is told that all are, and the same dates are read: docs/adr/0027.
    is_history = table.keeps_past or not reads.follows
    return dg.AssetIn(
        _key(reads),
        partition_mapping=dg.AllPartitionMapping() if is_history else partition_mapping(reads, settings),
        metadata={WHOLE_MONTHS: reads.whole_month, SAME_DATES: is_history},
        input_manager_key="lake_io",
    )


def _key(reads: Reads) -> dg.AssetKey:
    """Return the upstream's key or, where it is written as a whole, that of its changes by date."""
    upstream = reads.upstream
    return asset_key(upstream) if upstream in DATED else by_date_key(upstream, reads.heading)


def reading(table: Table) -> dg.AssetIn:
    """Return an upstream table as an input, cut to the dates of the run where it has them."""
    return dg.AssetIn(asset_key(table), input_manager_key="lake_io")
