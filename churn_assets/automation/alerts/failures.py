"""Failed runs as incidents: what failed, one line that says why, and whether it has worked since."""

import datetime as dt
from collections.abc import Callable, Iterator

import dagster as dg
from dagster import DagsterEventType

from churn_assets.assets.dagster_partitions import dates_of_run
from churn_assets.automation.alerts.incidents import Incident
from churn_assets.automation.history.failure_reasons import recorded_error_line
from churn_assets.automation.history.log_reader import materializations, run_events, written_at
from churn_assets.settings import Settings

FAILURE_EVENTS = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}
PLANNED_EVENTS = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}
MOST_RECORDS = 1000

# The error that Dagster raises in the step of a blocking check.
BLOCKED = "DagsterAssetCheckFailedError"

WILL_RETRY = "dagster/will_retry"

IsPartitioned = Callable[[dg.AssetKey], bool]


def failures(
    instance: dg.DagsterInstance, record: dg.RunRecord, settings: Settings, is_partitioned: IsPartitioned
) -> Iterator[Incident]:
    """Yield an incident for each failed step of a failed run, or one for the run if no step failed."""
    run = record.dagster_run
    if run.tags.get(WILL_RETRY) == "true":
        return
    url = f"{settings.dagster_url}/runs/{run.run_id}"
    events = run_events(instance, run.run_id, FAILURE_EVENTS)
    steps = [(event, at) for event, at in events if event.is_step_failure]
    planned = _planned(instance, run.run_id) if steps else {}
    for event, at in steps:
        error = event.step_failure_data.error
        step = event.step_key or run.job_name
        asset = planned.get(step)
        yield Incident(
            id=f"failed {asset.to_user_string() if asset else step}",
            what=f"{'.'.join(asset.path) if asset else step} failed",
            says=recorded_error_line(error) if error else "the step failed without a reason",
            url=url,
            since=at,
            asset=asset.to_user_string() if asset else "",
            last_good=written_at(instance, [asset]).get(asset) if asset else None,
            partitions=_partitions(run) if asset and is_partitioned(asset) else [],
            job=run.job_name,
            blocked=bool(error and error.cls_name == BLOCKED),
        )
    if not steps:
        yield _run_incident(record, events, url)


def has_worked_since(instance: dg.DagsterInstance, incident: Incident) -> bool:
    """Whether everything that failed has been materialised, or its job has succeeded, since then."""
    if incident.asset:
        key = dg.AssetKey.from_user_string(incident.asset)
        since = dg.AssetRecordsFilter(
            key,
            asset_partitions=incident.partitions or None,
            after_timestamp=incident.since.timestamp(),
        )
        records = materializations(instance, since, MOST_RECORDS)
        partitions = {record.partition_key for record in records}
        return bool(records) and partitions.issuperset(incident.partitions)
    after = dg.RunsFilter(
        job_name=incident.job, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=incident.since
    )
    return any(_selection(run) == incident.selection for run in instance.get_runs(after, limit=100))


def _run_incident(
    record: dg.RunRecord, events: list[tuple[dg.DagsterEvent, dt.datetime]], url: str
) -> Incident:
    run = record.dagster_run
    selection = _selection(run)
    says = " ".join(events[-1][0].message.split()) if events and events[-1][0].message else ""
    return Incident(
        id=f"failed {run.job_name} {' '.join(selection)}".strip(),
        what=f"{', '.join(selection) or run.job_name} failed",
        says=says or "the run ended without a reason",
        url=url,
        since=events[-1][1] if events else record.update_timestamp,
        job=run.job_name,
        selection=selection,
    )


def _selection(run: dg.DagsterRun) -> list[str]:
    return sorted(key.to_user_string() for key in run.asset_selection or ())


def _partitions(run: dg.DagsterRun) -> list[str]:
    dates = dates_of_run(run.tags)
    return [day.isoformat() for day in dates.days()] if dates else []


def _planned(instance: dg.DagsterInstance, run_id: str) -> dict[str, dg.AssetKey]:
    """Return the asset of each step, any one of them if a step makes several."""
    assets: dict[str, dg.AssetKey] = {}
    for event, _ in run_events(instance, run_id, PLANNED_EVENTS):
        data = event.event_specific_data
        key = getattr(data, "asset_key", None)
        if event.step_key and key:
            assets.setdefault(event.step_key, key)
    return assets
