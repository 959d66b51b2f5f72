"""Checks that every landed line is accounted for, and that every amount can be read."""

import dagster as dg
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import ON_SPARK, is_written
from churn_assets.lakehouse.conservation import CHECKED_DAYS, account, last_days
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.newest_ingestion import newest_ingestion
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets.transforms import accounting


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
        days = last_days(lake) if is_written(context, EVENTS) else None
        found = account(lake, days)
        return dg.AssetCheckResult(
            passed=found.unaccounted == 0,
            metadata={
                "landed_rows": found.landed,
                "events": found.events,
                "quarantined_rows": sum(found.quarantined.values()),
                "exact_duplicates": found.exact_duplicates,
                "unaccounted_rows": found.unaccounted,
                "quarantined_by_reason": found.quarantined,
                "scope": f"lines ingested on {days}" if days else "all lines",
            },
        )

    return check


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
