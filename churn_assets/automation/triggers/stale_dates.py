"""The sensor of the dated tables: each stale range of dates becomes one run, upstream before downstream.

Conditions on the assets would not do: a condition asks for one run a date, or for a backfill whose daemon
takes half a minute from one table to the next; and no partition mapping can say that a late first event
changes the account ages since then. See docs/adr/0013.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence

import dagster as dg

from churn_assets import tables
from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.log_reader import latest_event_id, latest_storage_id
from churn_assets.automation.history.run_tags import REASON_TAG, STEP_TAG, range_tags
from churn_assets.automation.history.undated_assets import production_model, scored_by_another
from churn_assets.automation.runs.jobs import DATED
from churn_assets.automation.staleness.added_assets import AddedStep, added_steps
from churn_assets.automation.staleness.plan import MODEL_NEWER, Plan, Step
from churn_assets.automation.staleness.planning import BaseAssetGraph, code_versions, plan_from
from churn_assets.automation.staleness.staleness import unsettled
from churn_assets.automation.triggers.attempts import at_work, attempt, backing_off
from churn_assets.errors import DateRangeError
from churn_assets.lakehouse.computed_dates.checked_ledger import CheckedLedger, read_ledger
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS


class AllCurrent(dg.SkipReason):
    """Nothing is to be computed, and nothing waits to be."""


def stale_dates_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that computes stale dates, one run for each contiguous range."""

    @dg.sensor(
        name="stale_dates",
        # No job: the assets of a job must share their partitions, and labels have different ones.
        # All assets, as it also requests those that users have added.
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Computes exactly the dates that late or new events, or a new day, have made stale.",
    )
    def stale_dates(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        repository = context.repository_def
        graph = repository.asset_graph if repository else None
        return tick(context, settings, dt.datetime.now(dt.UTC), graph)

    return stale_dates


def tick(
    context: dg.SensorEvaluationContext,
    settings: Settings,
    now: dt.datetime,
    graph: BaseAssetGraph | None = None,
) -> dg.SensorResult | dg.SkipReason:
    """Read the ledger, unless all was current and nothing has happened since.

    On Databricks a SQL warehouse reads the ledger, and a query at every tick would keep it running.
    """
    fingerprint = _fingerprint(context.instance, settings, now, graph)
    if context.cursor == fingerprint:
        return dg.SkipReason("All dates were current, and nothing has happened since.")
    result = decide(lambda: read_ledger(lakehouse(settings)), context.instance, settings, now, graph)
    context.update_cursor(fingerprint if isinstance(result, AllCurrent) else "")
    return result


def _fingerprint(
    instance: dg.DagsterInstance, settings: Settings, now: dt.datetime, graph: BaseAssetGraph | None
) -> str:
    """Hash what the decision depends on: Dagster's last event, settings, code and the hour.

    The hour is for days that end, and for tables that change without Dagster.
    """
    names = {"start_date", "end_date", *(name for table in tables.DATED for name in table.parameters)}
    parts = [str(latest_event_id(instance)), f"{now:%Y-%m-%dT%H}"]
    parts += [f"{name}={getattr(settings, name)}" for name in sorted(names)]
    parts += [
        f"{key.to_user_string()}={code}"
        for key, code in sorted((code_versions(graph) if graph else {}).items())
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def decide(
    read_ledger: Callable[[], CheckedLedger],
    instance: dg.DagsterInstance,
    settings: Settings,
    now: dt.datetime,
    graph: BaseAssetGraph | None = None,
) -> dg.SensorResult | dg.SkipReason:
    """Return the runs to start at this tick, or why there are none.

    Args:
        read_ledger: reads the ledger; called only if no run is at work.
        instance: where runs and materialisations are recorded.
        settings: the settings of the deployment.
        now: the clock, for which days are over.
        graph: with it, dates that other code computed are stale, and added assets are kept current as well.
    """
    if busy := at_work(instance, settings, now, DATED):
        return dg.SkipReason(busy)
    ledger = read_ledger()
    if not ledger.rows.last_note:
        return dg.SkipReason("Nothing has been taken in yet.")
    if first := unsettled(ledger):
        return dg.SkipReason(f"An ingestion comes first: {first}.")
    production = production_model(instance)
    try:
        versions = code_versions(graph) if graph else {}
        plan = plan_from(ledger, settings, now, code_versions=versions, scores=production is not None)
    except DateRangeError as error:
        return dg.SkipReason(str(error))
    # What is served must agree with the last scores, so these follow a promotion.
    if production and scored_by_another(instance, plan.covered.end, production):
        plan.score_again(plan.covered.end, MODEL_NEWER)
    wanted = [_request(instance, plan, step, ledger) for step in ready_steps(plan)]
    added = added_steps(graph, instance, DATED, not_to_read(plan, ledger)) if graph else []
    wanted += [_added_request(instance, step, ledger) for step in added]
    waits = [backing_off(instance, request.tags[STEP_TAG], now) for request in wanted]
    requests = [request for request, wait in zip(wanted, waits, strict=True) if wait is None]
    waiting = [wait for wait in waits if wait]
    if requests:
        return dg.SensorResult(run_requests=requests)
    reasons = " ".join([*waiting, *waiting_tables(plan)])
    return dg.SkipReason(reasons) if reasons else AllCurrent(f"All dates of {plan.covered} are current.")


def _request(instance: dg.DagsterInstance, plan: Plan, step: Step, ledger: CheckedLedger) -> dg.RunRequest:
    name = ", ".join(table.name for table in step.tables)
    read = ledger.rows.last_note
    production = production_model(instance) if CHURN_PREDICTIONS in step.tables else None
    why = plan.why(step)
    return dg.RunRequest(
        # Names what it reads and the attempt: nothing new never requests the same run twice.
        run_key=f"{name}: {step.dates}, {why}, {read}, {production}, {attempt(instance, name)}",
        asset_selection=[asset_key(table) for table in step.tables],
        tags={**range_tags(step.dates), STEP_TAG: name, REASON_TAG: why},
    )


def _added_request(instance: dg.DagsterInstance, step: AddedStep, ledger: CheckedLedger) -> dg.RunRequest:
    name = step.key.to_user_string()
    tags = {STEP_TAG: name, REASON_TAG: step.why}
    read = f"{ledger.rows.last_note}, {latest_storage_id(instance, step.key)}"
    return dg.RunRequest(
        run_key=f"{name}: {step.dates}, {step.why}, {read}, {attempt(instance, name)}",
        asset_selection=[step.key],
        partition_key=None if step.is_range else step.dates.start.isoformat(),
        tags={**tags, **range_tags(step.dates)} if step.is_range else tags,
    )


def not_to_read(plan: Plan, ledger: CheckedLedger) -> dict[dg.AssetKey, set[dt.date]]:
    """Return the dates of our tables that are stale, or whose rows fail a blocking check."""
    return {
        asset_key(table): {
            *plan.reasons.get(table, {}),
            *plan.blocked.get(table, {}),
            *(day for day, row in ledger.dates(table).items() if row.blocked_by),
        }
        for table in tables.DATED
    }


def waiting_tables(plan: Plan) -> list[str]:
    """Return a sentence about each table whose dates wait for a check to pass."""
    return [
        f"{table.name} waits on {len(dates)} dates: {next(iter(dates.values()))}."
        for table, dates in plan.blocked.items()
    ]


def ready_steps(plan: Plan) -> Sequence[Step]:
    """Return the steps that read no table that another step is still to compute."""
    groups = {step.tables for step in plan.steps()}
    waiting = {group: {table for other in groups - {group} for table in other} for group in groups}
    upstream = {table: {reads.upstream for reads in table.reads} for table in tables.DATED}
    return [
        step
        for step in plan.steps()
        if not any(upstream[table] & waiting[step.tables] for table in step.tables)
    ]
