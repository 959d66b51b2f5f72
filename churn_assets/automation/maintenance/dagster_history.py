"""Old runs of Dagster's history. What it knows of every asset and partition now stays, however old."""

import datetime as dt

import dagster as dg
from dagster import DagsterEventType

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

# As many at once as a run of the job may delete in a minute; the next one goes on.
MOST_RUNS = 1000


def prune_runs(instance: dg.DagsterInstance, before: dt.datetime, *, dry_run: bool = False) -> int:
    """Delete runs that ended before a time and hold no asset's or partition's last materialisation.

    Which dates are materialised, what an asset read last and who scored a date is read from those, by the UI
    and by the automation.

    Returns:
        How many there were.
    """
    filters = dg.RunsFilter(statuses=ENDED, updated_before=before)
    records = instance.get_run_records(filters, limit=MOST_RUNS, ascending=True)
    latest: dict[dg.AssetKey, set[str]] = {}
    old = [
        record.dagster_run.run_id
        for record in records
        if not _is_needed(instance, record.dagster_run.run_id, latest)
    ]
    for run_id in [] if dry_run else old:
        instance.delete_run(run_id)
    return len(old)


def purge_ticks(instance: dg.DagsterInstance, before: dt.datetime) -> None:
    """Delete what sensors and schedules noted of their ticks before a time."""
    for state in instance.all_instigator_state():
        instance.purge_ticks(state.instigator_origin_id, state.selector_id, before.timestamp())


def _is_needed(instance: dg.DagsterInstance, run_id: str, latest: dict[dg.AssetKey, set[str]]) -> bool:
    kind = DagsterEventType.ASSET_MATERIALIZATION
    for record in instance.get_records_for_run(run_id, of_type=kind).records:
        event = record.event_log_entry.dagster_event
        if event is None or event.asset_key is None:
            continue
        if event.asset_key not in latest:
            latest[event.asset_key] = _latest(instance, event.asset_key)
        if run_id in latest[event.asset_key]:
            return True
    return False


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str]:
    """Return the runs that materialised an asset, or one of its partitions, last."""
    kind = DagsterEventType.ASSET_MATERIALIZATION
    runs = {record.run_id for record in instance.fetch_materializations(key, limit=1).records}
    ids = sorted(instance.event_log_storage.get_latest_storage_id_by_partition(key, kind).values())
    for start in range(0, len(ids), MOST_RUNS):
        chosen = dg.AssetRecordsFilter(key, storage_ids=ids[start : start + MOST_RUNS])
        runs |= {record.run_id for record in instance.fetch_materializations(chosen, limit=MOST_RUNS).records}
    return runs
