"""The one reader of Dagster's event log: materialisations, observations, check results, events of a run.

Functions here know Dagster's storage and nothing of this graph. What an event means for an asset is
``undated_assets``, ``landing_history`` and ``staleness``.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)  # what the history of a check holds, exported nowhere else

CheckRecord = AssetCheckExecutionRecord

PLANNED = AssetCheckExecutionRecordStatus.PLANNED
PASSED = AssetCheckExecutionRecordStatus.SUCCEEDED
FAILED = AssetCheckExecutionRecordStatus.FAILED

MOST_RUN_EVENTS = 1000


def latest_materialization(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.AssetMaterialization | None:
    """Return an asset's last materialisation, None if it has none."""
    event = instance.get_latest_materialization_event(key)
    return event.asset_materialization if event else None


def latest_metadata(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, dg.MetadataValue]:
    """Return the metadata of an asset's last materialisation, empty if it has none."""
    materialization = latest_materialization(instance, key)
    return materialization.metadata if materialization else {}


def latest_tags(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str]:
    """Return the tags of an asset's last materialisation, empty if it has none."""
    materialization = latest_materialization(instance, key)
    return (materialization.tags or {}) if materialization else {}


def latest_storage_id(instance: dg.DagsterInstance, key: dg.AssetKey) -> int:
    """Return the storage id of an asset's last materialisation, 0 if it has none."""
    records = instance.get_asset_records([key])
    return (records[0].asset_entry.last_materialization_storage_id if records else None) or 0


def latest_record(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.EventLogRecord | None:
    """Return the record of an asset's last materialisation, None if it has none."""
    return next(iter(instance.fetch_materializations(key, limit=1).records), None)


def first_record(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.EventLogRecord | None:
    """Return the record of an asset's first materialisation, None if it has none."""
    return next(iter(instance.fetch_materializations(key, limit=1, ascending=True).records), None)


def storage_ids_by_partition(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, int]:
    """Return the storage id of the last materialisation of each partition that has one."""
    return instance.get_latest_storage_id_by_partition(key, DagsterEventType.ASSET_MATERIALIZATION)


def materializations(
    instance: dg.DagsterInstance, records: dg.AssetRecordsFilter, limit: int, *, oldest_first: bool = False
) -> Sequence[dg.EventLogRecord]:
    """Return the materialisations that match a filter, the newest first unless ``oldest_first``."""
    return instance.fetch_materializations(records, limit=limit, ascending=oldest_first).records


def latest_observation(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.AssetObservation | None:
    """Return the last observation of a source, None if it was never observed."""
    records = instance.fetch_observations(key, limit=1).records
    return records[0].asset_observation if records else None


def written_at(
    instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]
) -> Mapping[dg.AssetKey, dt.datetime]:
    """Return when each asset was last materialised (UTC); those that never were are left out."""
    events = instance.get_latest_materialization_events(keys)
    return {key: utc(event.timestamp) for key, event in events.items() if event}


def latest_event_id(instance: dg.DagsterInstance) -> int | None:
    """Return the storage id of the last event of any kind, None in an empty log."""
    return instance.event_log_storage.get_maximum_record_id()


def run_events(
    instance: dg.DagsterInstance, run_id: str, types: set[DagsterEventType]
) -> list[tuple[dg.DagsterEvent, dt.datetime]]:
    """Return a run's events of these types, each with its time (UTC), the oldest first."""
    records = instance.get_records_for_run(run_id, of_type=types, limit=MOST_RUN_EVENTS).records
    entries = [record.event_log_entry for record in records]
    return [(entry.dagster_event, utc(entry.timestamp)) for entry in entries if entry.dagster_event]


def latest_check_records(
    instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey]
) -> Mapping[dg.AssetCheckKey, CheckRecord]:
    """Return the last record of each check, which may be of one that is only planned."""
    return instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))


def latest_check_record(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> CheckRecord | None:
    """Return the last record of a check, which may be only planned; None if it has none."""
    return latest_check_records(instance, [check]).get(check)


def latest_check_result(
    instance: dg.DagsterInstance,
    check: dg.AssetCheckKey,
    statuses: Collection[AssetCheckExecutionRecordStatus] = (PASSED, FAILED),
) -> CheckRecord | None:
    """Return the last record of a check with one of these statuses, by default its last result."""
    records = instance.event_log_storage.get_asset_check_execution_history(
        check, limit=1, status=set(statuses)
    )
    return records[0] if records else None


def utc(timestamp: float) -> dt.datetime:
    """Turn the log's seconds since 1970 into a UTC time."""
    return dt.datetime.fromtimestamp(timestamp, dt.UTC)
