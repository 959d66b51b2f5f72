"""Checks that every landed line is accounted for, and that every amount can be read."""

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import ON_SPARK, is_written
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.newest_ingestion import newest_ingestion
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets.transforms import accounting

# A line that went missing is missed for so many days.
CHECKED_DAYS = 7
# Of so many dates Silver is read, else all of it: lines that are no events may name any date.
MOST_DATES = 1000


def row_conservation() -> dg.AssetChecksDefinition:
    """Return the check that Bronze = Silver + quarantine + exact duplicates.

    In a run that writes Silver it accounts for the lines of the last ingestions, up to seven days back, so
    that it takes no longer as the tables grow. Executed alone it accounts for every line.
    """

    @dg.asset_check(
        name="row_conservation",
        asset=asset_key(EVENTS),
        additional_deps=[asset_key(LANDED_EVENTS), asset_key(QUARANTINED_EVENTS)],
        required_resource_keys=ON_SPARK,
        description="Every landed line is an event, in quarantine, or an exact duplicate of an event: the "
        f"lines of the last {CHECKED_DAYS} days of ingestions, or all where the check is executed alone.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake: Lakehouse = context.resources.lakehouse
        days = _last_days(lake) if is_written(context, EVENTS) else None
        landed, quarantined = (lake.read(table, days) for table in (LANDED_EVENTS, QUARANTINED_EVENTS))
        events = new = lake.read(EVENTS)
        if days:
            events = _of_their_dates(lake, events, landed, days)
            new = events.where(F.to_date("_ingested_at") >= F.lit(days.start))
        delivered = (
            accounting.deliveries(landed, quarantined, events).agg(F.sum("lines")).collect()[0][0] or 0
        )
        reasons = {
            row["reason"]: row["rows"]
            for row in quarantined.groupBy("reason").agg(F.count(F.lit(1)).alias("rows")).collect()
        }
        counts = {
            "landed_rows": landed.count(),
            "events": new.count(),
            "quarantined_rows": sum(reasons.values()),
        }
        counts["exact_duplicates"] = delivered - counts["events"]
        unaccounted = counts["landed_rows"] - delivered - counts["quarantined_rows"]
        return dg.AssetCheckResult(
            passed=unaccounted == 0,
            metadata={
                **counts,
                "unaccounted_rows": unaccounted,
                "quarantined_by_reason": dict(sorted(reasons.items())),
                "scope": f"lines ingested on {days}" if days else "all lines",
            },
        )

    return check


def _of_their_dates(lake: Lakehouse, events: DataFrame, landed: DataFrame, days: DateRange) -> DataFrame:
    """Silver's rows of the dates that the lines of these days name, or more, where all are hardly more."""
    rows = lake.partition_rows(LANDED_EVENTS)
    lines = sum(count for day, count in rows.items() if days.start <= day <= days.end)
    if sum(lake.partition_rows(EVENTS).values()) < 2 * lines:
        return events
    said = {row[0] for row in accounting.days_said(landed).take(MOST_DATES)} - {None}
    if len(said) >= MOST_DATES - 1:
        return events
    return events.where(F.col("event_date").isin(*said) if said else F.lit(False))


def _last_days(lake: Lakehouse) -> DateRange | None:
    """The last days of ingestions; None without any."""
    last = max(lake.partition_rows(LANDED_EVENTS), default=None)
    return DateRange(last - (CHECKED_DAYS - 1) * ONE_DAY, last) if last else None


def readable_amounts() -> dg.AssetChecksDefinition:
    """Return the check that amounts are numbers."""

    @dg.asset_check(
        name="readable_amounts",
        asset=asset_key(EVENTS),
        additional_deps=[asset_key(LANDED_EVENTS)],
        required_resource_keys=ON_SPARK,
        description="Each amount of the newest ingestion is a number such as 12.5, or of all where the check "
        "is executed alone. The events of others are there, without an amount. A warning.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake: Lakehouse = context.resources.lakehouse
        if is_written(context, EVENTS):
            landed, scope = newest_ingestion(lake, LANDED_EVENTS), "newest ingestion"
        else:
            landed, scope = lake.read(LANDED_EVENTS), "all lines"
        unreadable = accounting.unreadable_amounts(landed)
        count, example = unreadable.agg(F.count(F.lit(1)), F.max("amount")).collect()[0]
        description = f"{count:,} amounts are no numbers such as 12.5: {example!r}, for example."
        return dg.AssetCheckResult(
            passed=not count,
            severity=dg.AssetCheckSeverity.WARN,
            description=description if count else None,
            metadata={"unreadable_amounts": count, "scope": scope},
        )

    return check
