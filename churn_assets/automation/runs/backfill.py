"""Bringing a range of feature_dates up to date: what it would do, and doing it.

There is no state of a backfill: what is stale is worked out anew each time, so that one that was killed goes
on where it was when the same command is given again.
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
    """One run: tables, dates, why, rows that these dates hold now, and seconds by runs of the past."""

    tables: tuple[str, ...]
    dates: DateRange
    why: str
    rows_now: int
    seconds: float | None


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill would do; ``seconds`` and ``dbu`` are None where the past does not tell."""

    runs: list[PlannedRun]
    stale: dict[str, dict[str, int]]
    seconds: float | None
    dbu: float | None
    told_by_runs: int


def describe(plan: Plan, lake: Lakehouse, instance: dg.DagsterInstance) -> BackfillPlan:
    """Put a plan into numbers."""
    estimator = Estimator(instance)
    rows = {table: lake.partition_rows(table) for table in plan.reasons}
    runs = [_run(plan, step, rows, estimator) for step in plan.steps()]
    known = [run.seconds for run in runs if run.seconds is not None]
    seconds = sum(known) if len(known) == len(runs) else None
    return BackfillPlan(
        runs=runs,
        stale={
            table.name: dict(sorted(Counter(found.values()).items()))
            for table, found in plan.reasons.items()
            if found
        },
        seconds=seconds,
        dbu=_dbu(lake.settings, seconds),
        told_by_runs=estimator.runs(),
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
