"""What a backfill of a range of feature_dates would run, in numbers.

A backfill has no state: what is stale is worked out anew each time, so that the same command goes on where a
killed one stopped.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from churn_assets.automation.runs.estimates import Estimator, dbu
from churn_assets.automation.staleness.plan import Plan, Step
from churn_assets.dates import DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import Table


@dataclass(frozen=True)
class PlannedRun:
    """One run: tables, dates, reason, rows that these dates hold now, and estimated seconds."""

    tables: tuple[str, ...]
    dates: DateRange
    why: str
    rows_now: int
    seconds: float | None


@dataclass(frozen=True)
class BackfillPlan:
    """The runs and stale dates of a backfill.

    ``stale`` counts dates by table and reason. ``seconds`` and ``dbu`` are estimates from ``past_runs`` runs,
    None if these are not enough.
    """

    runs: list[PlannedRun]
    stale: dict[str, dict[str, int]]
    seconds: float | None
    dbu: float | None
    past_runs: int


def describe(plan: Plan, lake: Lakehouse, instance: dg.DagsterInstance) -> BackfillPlan:
    """Count and estimate the runs of a plan."""
    estimator = Estimator(instance)
    rows = {table: lake.partition_rows(table) for table in plan.reasons}
    runs = [_run(plan, step, rows, estimator) for step in plan.steps()]
    known = [run.seconds for run in runs if run.seconds is not None]
    seconds = sum(known) if len(known) == len(runs) else None
    return BackfillPlan(
        runs=runs,
        stale={
            table.name: dict(sorted(Counter(reasons.values()).items()))
            for table, reasons in plan.reasons.items()
            if reasons
        },
        seconds=seconds,
        dbu=_dbu(lake.settings, seconds),
        past_runs=estimator.runs(),
    )


def _run(
    plan: Plan, step: Step, rows: Mapping[Table, Mapping[dt.date, int]], estimator: Estimator
) -> PlannedRun:
    return PlannedRun(
        tables=tuple(table.name for table in step.tables),
        dates=step.dates,
        why=plan.why(step),
        rows_now=sum(rows[table].get(day, 0) for table in step.tables for day in step.days),
        seconds=estimator.seconds(step),
    )


def _dbu(settings: Settings, seconds: float | None) -> float | None:
    return None if seconds is None else dbu(settings, seconds)
