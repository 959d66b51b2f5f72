"""The trigger of the dated tables: each stale range of dates becomes one run, upstream before downstream.

A sensor and not conditions on the assets: a condition asks for one run a date, or for a backfill whose daemon
takes half a minute from one table to the next; and no partition mapping can say that a late first event
changes the account ages since then. See docs/adr/0013.
"""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from churn_assets import tables
from churn_assets.automation.attempts import at_work, attempt, backing_off
from churn_assets.automation.jobs import DATED
from churn_assets.automation.materialized import production_model, scored_by_another
from churn_assets.automation.plan import MODEL_NEWER, Plan, Step
from churn_assets.automation.planning import code_versions, plan_from
from churn_assets.automation.run_tags import REASON_TAG, STEP_TAG, range_tags
from churn_assets.automation.staleness import CodeVersions, unsettled
from churn_assets.errors import DateRangeError
from churn_assets.lakehouse.computed_dates.looking import Found, look
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS


def stale_dates_sensor(settings: Settings) -> dg.SensorDefinition:
    """Dates that are missing or behind what they read are computed, one run for each contiguous range."""

    @dg.sensor(
        name="stale_dates",
        # No job of its own: the assets of a job must share their partitions, and labels have theirs.
        asset_selection=dg.AssetSelection.assets(*DATED),
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Computes exactly the dates that late or new events, or a new day, have made stale.",
    )
    def stale_dates(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        repository = context.repository_def
        versions = code_versions(repository.asset_graph) if repository else {}
        now = dt.datetime.now(dt.UTC)
        return decide(look(lakehouse(settings)), context.instance, settings, now, versions)

    return stale_dates


def decide(
    found: Found,
    instance: dg.DagsterInstance,
    settings: Settings,
    now: dt.datetime,
    versions: CodeVersions | None = None,
) -> dg.SensorResult | dg.SkipReason:
    """One tick: the runs to start now, or why there are none."""
    if not found.known.number:
        return dg.SkipReason("Nothing has been taken in yet.")
    if busy := at_work(instance, settings, now, DATED):
        return dg.SkipReason(busy)
    if first := unsettled(found):
        return dg.SkipReason(f"An ingestion comes first: {first}.")
    production = production_model(instance)
    try:
        plan = plan_from(found, settings, now, code_versions=versions, scores=production is not None)
    except DateRangeError as error:
        return dg.SkipReason(str(error))
    # What is served must agree with the last scores, so these follow a promotion.
    if production and scored_by_another(instance, plan.covered.end, production):
        plan.score_again(plan.covered.end, MODEL_NEWER)
    requests, waiting = [], []
    for step in ready_steps(plan):
        name = ", ".join(table.name for table in step.tables)
        if wait := backing_off(instance, name, now):
            waiting.append(wait)
        else:
            requests.append(_request(instance, plan, step, name, found))
    if not requests:
        return dg.SkipReason(
            " ".join([*waiting, *held_back(plan)]) or f"All dates of {plan.covered} are current."
        )
    return dg.SensorResult(run_requests=requests)


def _request(instance: dg.DagsterInstance, plan: Plan, step: Step, name: str, found: Found) -> dg.RunRequest:
    read = found.known.number
    production = production_model(instance) if CHURN_PREDICTIONS in step.tables else None
    why = plan.why(step)
    return dg.RunRequest(
        # Of what it reads and of the attempt: an unchanged world never asks for the same run twice.
        run_key=f"{name}: {step.dates}, {why}, {read}, {production}, {attempt(instance, name)}",
        asset_selection=[table.asset_key for table in step.tables],
        tags={**range_tags(step.dates), STEP_TAG: name, REASON_TAG: why},
    )


def held_back(plan: Plan) -> list[str]:
    """Of each table whose dates wait for a check to pass, a sentence."""
    return [
        f"{table.name} waits on {len(dates)} dates: {next(iter(dates.values()))}."
        for table, dates in plan.held.items()
    ]


def ready_steps(plan: Plan) -> Sequence[Step]:
    """The steps of which nothing upstream waits to be computed by another."""
    groups = {step.tables for step in plan.steps()}
    waiting = {group: {table for other in groups - {group} for table in other} for group in groups}
    upstream = {table: {reads.upstream for reads in table.reads} for table in tables.DATED}
    return [
        step
        for step in plan.steps()
        if not any(upstream[table] & waiting[step.tables] for table in step.tables)
    ]
