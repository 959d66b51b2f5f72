"""Failed runs as incidents: what failed, with the line that says why, and whether it has worked since."""

import datetime as dt
from collections.abc import Callable, Iterator

import dagster as dg
from dagster import DagsterEventType

from churn_assets.automation.alerts.incidents import Incident
from churn_assets.automation.history.failure_reasons import recorded_error_line
from churn_assets.automation.staleness.freshness import last_written
from churn_assets.partitions import dates_of_run
from churn_assets.settings import Settings

FAILURE_EVENTS = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}
PLANNED_EVENTS = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}
MOST_EVENTS = 1000

# What Dagster raises in the step of a check that blocks.
BLOCKED = "DagsterAssetCheckFailedError"

WILL_RETRY = "dagster/will_retry"

IsPartitioned = Callable[[dg.AssetKey], bool]


def failures(
    instance: dg.DagsterInstance, record: dg.RunRecord, settings: Settings, is_partitioned: IsPartitioned
) -> Iterator[Incident]:
    """What one failed run says: an incident for each step that failed, or one for the run if no step did."""
    run = record.dagster_run
    if run.tags.get(WILL_RETRY) == "true":
        return
    url = f"{settings.dagster_url.rstrip('/')}/runs/{run.run_id}"
    entries = _entries(instance, run.run_id, FAILURE_EVENTS)
    steps = [(event, at) for event, at in entries if event.is_step_failure]
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
            last_good=last_written(instance, [asset]).get(asset) if asset else None,
            partitions=_partitions(run) if asset and is_partitioned(asset) else [],
            job=run.job_name,
            blocked=bool(error and error.cls_name == BLOCKED),
        )
    if not steps:
        yield _of_run(record, entries, url)


def has_worked_since(instance: dg.DagsterInstance, incident: Incident) -> bool:
    """Whether all that failed has been made since then."""
    if incident.asset:
        key = dg.AssetKey.from_user_string(incident.asset)
        found = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                key,
                asset_partitions=incident.partitions or None,
                after_timestamp=incident.since.timestamp(),
            ),
            limit=MOST_EVENTS,
        ).records
        made = {record.partition_key for record in found}
        return bool(found) and made.issuperset(incident.partitions)
    after = dg.RunsFilter(
        job_name=incident.job, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=incident.since
    )
    return any(_selection(run) == incident.selection for run in instance.get_runs(after, limit=100))


def _of_run(record: dg.RunRecord, entries: list[tuple[dg.DagsterEvent, dt.datetime]], url: str) -> Incident:
    run = record.dagster_run
    selection = _selection(run)
    says = " ".join(entries[-1][0].message.split()) if entries and entries[-1][0].message else ""
    return Incident(
        id=f"failed {run.job_name} {' '.join(selection)}".strip(),
        what=f"{', '.join(selection) or run.job_name} failed",
        says=says or "the run ended without a reason",
        url=url,
        since=entries[-1][1] if entries else record.update_timestamp,
        job=run.job_name,
        selection=selection,
    )


def _selection(run: dg.DagsterRun) -> list[str]:
    return sorted(key.to_user_string() for key in run.asset_selection or ())


def _partitions(run: dg.DagsterRun) -> list[str]:
    dates = dates_of_run(run.tags)
    return [day.isoformat() for day in dates.days()] if dates else []


def _planned(instance: dg.DagsterInstance, run_id: str) -> dict[str, dg.AssetKey]:
    """The asset of each step; of a step that makes several, one of them."""
    found: dict[str, dg.AssetKey] = {}
    for event, _ in _entries(instance, run_id, PLANNED_EVENTS):
        data = event.event_specific_data
        key = getattr(data, "asset_key", None)
        if event.step_key and key:
            found.setdefault(event.step_key, key)
    return found


def _entries(
    instance: dg.DagsterInstance, run_id: str, of_type: set[DagsterEventType]
) -> list[tuple[dg.DagsterEvent, dt.datetime]]:
    records = instance.get_records_for_run(run_id, of_type=of_type, limit=MOST_EVENTS).records
    return [
        (entry.dagster_event, dt.datetime.fromtimestamp(entry.timestamp, dt.UTC))
        for entry in (record.event_log_entry for record in records)
        if entry.dagster_event
    ]
