"""Keeps the checks ``latest_date`` true while nothing runs: that is when a table falls behind."""

import datetime as dt

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.contract import LATEST_DATE
from churn_assets.automation.staleness.freshness import last_written
from churn_assets.lakehouse.freshness import DATED_TABLES, LastDate, last_date
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings

INTERVAL_SECONDS = 60
LONGEST_RUN = 3600


def date_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor. None for a remote lake, where reading metadata costs a cluster: runs check their tables."""
    if lakehouse(settings).is_remote:
        return []

    @dg.sensor(
        name="latest_dates",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks up the last date of each table, and records the check latest_date if it changed.",
    )
    def latest_dates(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        changed = record_last_dates(lakehouse(settings), context.instance, dt.datetime.now(dt.UTC))
        said = "; ".join(f"{one.table.name}: {one.says}" for one in changed)
        return dg.SkipReason(said or "No table has gained a date or fallen behind.")

    return [latest_dates]


def record_last_dates(lake: Lakehouse, instance: dg.DagsterInstance, now: dt.datetime) -> list[LastDate]:
    """Record the check's result for each table of which it is another than the last one.

    Reads Delta logs only, and starts neither an engine nor a run. A table that was never materialised is left
    out.
    """
    made = last_written(instance, [asset_key(table) for table in DATED_TABLES])
    changed = []
    for table in (table for table in DATED_TABLES if asset_key(table) in made):
        found = last_date(lake, table, now)
        before = instance.get_latest_asset_check_evaluation_record(
            dg.AssetCheckKey(asset_key(table), LATEST_DATE)
        )
        evaluation = before.evaluation if before else None
        if (
            before
            and before.status.value == "PLANNED"
            and now.timestamp() - before.create_timestamp < LONGEST_RUN
        ):
            # A run is about to say it itself; one that has died never will.
            continue
        if evaluation and (evaluation.passed, evaluation.description) == (found.is_fresh, found.says):
            continue
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset_key(table),
                check_name=LATEST_DATE,
                passed=found.is_fresh,
                description=found.says,
                metadata={"held": str(found.date), "due": str(found.due)},
            )
        )
        changed.append(found)
    return changed
