"""Keeps the checks ``latest_date`` up to date while nothing runs, which is when a table falls behind."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.contract import LATEST_DATE
from churn_assets.automation.history.log_reader import PLANNED, latest_check_record, written_at
from churn_assets.lakehouse.freshness import DATED_TABLES, LastDate, last_date
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings

INTERVAL_SECONDS = 60
LONGEST_RUN_SECONDS = 3600

# So many tables that are behind a tick names.
NAMED = 3


def date_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor; none on Databricks, where reading a table takes a cluster and runs check theirs."""
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
        return dg.SkipReason(in_short(changed))

    return [latest_dates]


def in_short(changed: Sequence[LastDate]) -> str:
    """Return what a tick has found in a line for the list of ticks; the checks have each table's dates."""
    if not changed:
        return "No table has gained a date or fallen behind."
    behind = [last.table.name for last in changed if not last.is_fresh]
    gained = len(changed) - len(behind)
    more = f" and {len(behind) - NAMED} more" if len(behind) > NAMED else ""
    says = [
        *([f"{gained} {'table has' if gained == 1 else 'tables have'} a new last date"] if gained else []),
        *([f"behind: {', '.join(behind[:NAMED])}{more}"] if behind else []),
    ]
    return "; ".join(says)


def record_last_dates(lake: Lakehouse, instance: dg.DagsterInstance, now: dt.datetime) -> list[LastDate]:
    """Record the check's result for each table where it differs from the last one.

    Reads Delta logs only, and starts neither an engine nor a run. Tables that were never materialised are
    left out.

    Returns:
        The tables whose result was recorded, with their last dates.
    """
    made = written_at(instance, [asset_key(table) for table in DATED_TABLES])
    changed = []
    for table in (table for table in DATED_TABLES if asset_key(table) in made):
        last = last_date(lake, table, now)
        before = latest_check_record(instance, dg.AssetCheckKey(asset_key(table), LATEST_DATE))
        evaluation = before.evaluation if before else None
        if (
            before
            and before.status == PLANNED
            and now.timestamp() - before.create_timestamp < LONGEST_RUN_SECONDS
        ):
            # A run is about to record it; one that has died never will.
            continue
        if evaluation and (evaluation.passed, evaluation.description) == (last.is_fresh, last.says):
            continue
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset_key(table),
                check_name=LATEST_DATE,
                passed=last.is_fresh,
                description=last.says,
                metadata={"held": str(last.date), "due": str(last.due)},
            )
        )
        changed.append(last)
    return changed
