"""Whether every line that landed is accounted for."""

import dagster as dg
from pyspark.sql import functions as F

from churn_assets.assets.common import ON_SPARK
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets.transforms import accounting


def row_conservation() -> dg.AssetChecksDefinition:
    """Bronze = Silver + quarantine + exact duplicates."""

    @dg.asset_check(
        name="row_conservation",
        asset=EVENTS.asset_key,
        additional_deps=[LANDED_EVENTS.asset_key, QUARANTINED_EVENTS.asset_key],
        required_resource_keys=ON_SPARK,
        description="Every landed line is an event, in quarantine, or an exact duplicate of an event.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake = context.resources.lakehouse
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
