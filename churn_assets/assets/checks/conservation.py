"""Checks that every landed line is accounted for, and that every amount can be read."""

import dagster as dg
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import ON_SPARK
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets.transforms import accounting


def row_conservation() -> dg.AssetChecksDefinition:
    """Return the check that Bronze = Silver + quarantine + exact duplicates."""

    @dg.asset_check(
        name="row_conservation",
        asset=asset_key(EVENTS),
        additional_deps=[asset_key(LANDED_EVENTS), asset_key(QUARANTINED_EVENTS)],
        required_resource_keys=ON_SPARK,
        description="Every landed line is an event, in quarantine, or an exact duplicate of an event.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake: Lakehouse = context.resources.lakehouse
        frames = {table: lake.read(table) for table in (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS)}
        delivered = (
            accounting.deliveries(frames[LANDED_EVENTS], frames[EVENTS]).count()
            - accounting.quarantined_deliveries(frames[QUARANTINED_EVENTS], frames[EVENTS]).count()
        )
        counts = {
            "landed_rows": frames[LANDED_EVENTS].count(),
            "events": frames[EVENTS].count(),
            "quarantined_rows": frames[QUARANTINED_EVENTS].count(),
        }
        counts["exact_duplicates"] = delivered - counts["events"]
        unaccounted = counts["landed_rows"] - delivered - counts["quarantined_rows"]
        reasons = {
            row["reason"]: row["rows"]
            for row in frames[QUARANTINED_EVENTS]
            .groupBy("reason")
            .agg(F.count(F.lit(1)).alias("rows"))
            .collect()
        }
        return dg.AssetCheckResult(
            passed=unaccounted == 0,
            metadata={
                **counts,
                "unaccounted_rows": unaccounted,
                "quarantined_by_reason": dict(sorted(reasons.items())),
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
        description="Each amount of the newest ingestion is a number such as 12.5. The events of others are "
        "there, without an amount. A warning; the number of all that ever landed is in its metadata.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake: Lakehouse = context.resources.lakehouse
        landed = lake.read(LANDED_EVENTS)
        newest = landed.agg(F.unix_micros(F.max("_ingested_at"))).collect()[0][0]
        is_new = F.unix_micros("_ingested_at") == F.lit(newest)
        counts = (
            accounting.unreadable_amounts(landed)
            .agg(
                F.count(F.lit(1)).alias("ever"),
                F.count(F.when(is_new, 1)).alias("new"),
                F.max(F.when(is_new, F.col("amount"))).alias("example"),
            )
            .collect()[0]
        )
        description = (
            f"{counts['new']:,} amounts are no numbers such as 12.5: {counts['example']!r}, for example."
        )
        return dg.AssetCheckResult(
            passed=not counts["new"],
            severity=dg.AssetCheckSeverity.WARN,
            description=description if counts["new"] else None,
            metadata={"unreadable_amounts": counts["ever"], "in_newest_ingestion": counts["new"]},
        )

    return check
