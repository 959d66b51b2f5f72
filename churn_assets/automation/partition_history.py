"""What Dagster's event log knows of every date of every table, beside what the tables said of themselves."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import dagster as dg
from dagster import DagsterEventType

from churn_assets.assets.endpoint import scored_by
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.lakehouse.evidence import METADATA_NAME, Days, Evidence, is_written
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    DAILY_SUMMARY,
    EVENTS,
    MODEL_PROMOTIONS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    Table,
)

# What model_promotions calls the version that is Production, in its metadata.
CHAMPION = "champion"


@dataclass(frozen=True)
class Evidenced:
    """Evidence, and where in the event log it stands.

    ``id`` is the storage id of the users that carry it, and ``events_id`` that of the Silver that those users
    read; both are None of evidence that was gathered a moment ago, after everything in the log.
    """

    evidence: Evidence
    id: int | None = None
    events_id: int = 0


def recorded_evidence(instance: dg.DagsterInstance) -> Evidenced | None:
    """The evidence of the last ingestion; None before the first one."""
    found = instance.fetch_materializations(USERS.asset_key, limit=1).records
    if not found or found[0].asset_materialization is None:
        return None
    value = found[0].asset_materialization.metadata.get(METADATA_NAME)
    if not isinstance(value, dg.JsonMetadataValue) or not isinstance(value.data, dict):
        return None
    if "events" not in value.data:
        # Of a release that noted only which days have events: the next ingestion counts them.
        return None
    return Evidenced(Evidence.from_json(value.data), found[0].storage_id, _read_id(found[0], EVENTS))


def is_behind(instance: dg.DagsterInstance, table: Table, upstream: Table) -> bool:
    """Whether the last materialisation read another data version of its upstream than there is now."""
    tag = f"dagster/input_data_version/{upstream.asset_key.to_user_string()}"
    read = _latest_tags(instance, table.asset_key).get(tag)
    return read is None or read != _latest_tags(instance, upstream.asset_key).get("dagster/data_version")


class Production(NamedTuple):
    """The Production version as an asset found it last, and where in the event log that stands."""

    version: str
    id: int


def production_model(instance: dg.DagsterInstance) -> Production | None:
    """The Production version as far as the event log knows; None where none has been found yet.

    Either the last training says it, or, where the alias was moved since, model_promotions. A tick asks here
    and not the registry: MLflow alone takes seconds to import.
    """
    found = []
    for record in _latest_records(instance, CHURN_PREDICTION_MODEL):
        version = _tags(record).get("dagster/data_version", "none")
        found.append((record.storage_id, version))
    if noted := noted_champion(instance):
        found.append((latest_id(instance, MODEL_PROMOTIONS.asset_key), noted))
    id_, version = max(found, default=(0, "none"))
    return None if version == "none" else Production(version, id_)


def noted_champion(instance: dg.DagsterInstance) -> str | None:
    """What model_promotions found to be Production last; None where it was never materialised."""
    for record in _latest_records(instance, MODEL_PROMOTIONS.asset_key):
        metadata = record.asset_materialization.metadata if record.asset_materialization else {}
        if CHAMPION in metadata:
            return str(metadata[CHAMPION].value)
    return None


def scored_by_another(instance: dg.DagsterInstance, day: dt.date, production: Production) -> bool:
    """Whether the scores of this date are from before the Production version, and another version's.

    What was scored after that was scored by what was Production then: the log need not know of it yet.
    """
    id_ = _score_ids(instance).get(day.isoformat())
    if id_ is None or id_ > production.id:
        return False
    return scored_by(instance, day) not in ("unknown", production.version)


def last_scores_are_of_production(instance: dg.DagsterInstance) -> bool:
    """Whether there is a Production model, and the last date that has scores has none of an earlier one."""
    production, scored = production_model(instance), _score_ids(instance)
    if production is None or not scored:
        return False
    return not scored_by_another(instance, dt.date.fromisoformat(max(scored)), production)


def latest_id(instance: dg.DagsterInstance, key: dg.AssetKey) -> int:
    """The storage id of an asset's last materialisation, 0 without one."""
    records = instance.get_asset_records([key])
    return (records[0].asset_entry.last_materialization_storage_id if records else None) or 0


class History:
    """The latest materialisation of every date of every table, as a number that rises with time."""

    def __init__(
        self, found: Evidenced, instance: dg.DagsterInstance, code_versions: Mapping[dg.AssetKey, str]
    ) -> None:
        self._found = found
        self._instance = instance
        self._code_versions = code_versions
        self._ids: dict[Table, dict[dt.date, int]] = {}
        self._made_by: dict[Table, dict[dt.date, str | None]] = {}

    def ids(self, table: Table) -> Mapping[dt.date, int]:
        """By date; of a table that was moved away, only what was made since.

        A table that holds nothing because there was nothing to write, as the drift of a model without a
        reference, was not moved away.
        """
        if table not in self._ids:
            by_key = self._instance.get_latest_storage_id_by_partition(
                table.asset_key, DagsterEventType.ASSET_MATERIALIZATION
            )
            if not is_written(self._found.evidence, table):
                since, empty = self._found.id, self._wrote_nothing(table, by_key.values())
                by_key = {
                    key: id_
                    for key, id_ in by_key.items()
                    if id_ in empty or (since is not None and id_ > since)
                }
            self._ids[table] = {dt.date.fromisoformat(key): id_ for key, id_ in by_key.items()}
        return self._ids[table]

    def uncounted(self) -> Days:
        """Days of which user_daily_activity has not counted all events."""
        return self._unless_read_since(
            self._found.evidence.activity, USER_DAILY_ACTIVITY, EVENTS, self._found.events_id
        )

    def other_arrivals(self) -> Days:
        """Days on which daily_summary counts another number of new users."""
        return self._unless_read_since(
            self._found.evidence.summary, DAILY_SUMMARY, USERS, self._found.id or 0
        )

    def other_ages(self) -> Days:
        """Dates on which somebody's account age in user_features is not that of users."""
        return self._unless_read_since(self._found.evidence.ages, USER_FEATURES, USERS, self._found.id or 0)

    def with_labels(self) -> Days:
        """Dates that have rows of labels and were not labelled anew since that was seen."""
        return self._not_labelled_since(self._found.evidence.labelled)

    def without_labels(self) -> Days:
        """Dates that have rows of features and none of labels, and were not labelled since that was seen."""
        return self._not_labelled_since(self._found.evidence.unlabelled)

    def made_by_other_code(self, table: Table, day: dt.date) -> bool:
        """Whether this date was computed by another version of the transform than today's."""
        current = self._code_versions.get(table.asset_key)
        if current is None:
            return False
        if table not in self._made_by:
            self._made_by[table] = {
                dt.date.fromisoformat(record.partition_key or ""): _code_version(record)
                for record in self._records(table, self.ids(table).values())
            }
        made_by = self._made_by[table].get(day)
        return made_by is not None and made_by != current

    def _not_labelled_since(self, days: Days) -> Days:
        since = self._found.id
        if since is None:
            return days
        # A run that began before and ended later may have judged by less: the next ingestion looks again.
        return frozenset(day for day in days if self.ids(CHURN_LABELS).get(day, 0) <= since)

    def _unless_read_since(self, days: Days, table: Table, upstream: Table, read_id: int) -> Days:
        """Those days that nobody has computed since the evidence, from what the evidence was about.

        Later is not enough: a run that began before the evidence and ended later read what was there before.
        """
        since = self._found.id
        if since is None:
            return days
        later = {day: id_ for day in days if (id_ := self.ids(table).get(day, 0)) > since}
        records = {record.storage_id: record for record in self._records(table, later.values())}
        mended = {day for day, id_ in later.items() if _read_id(records[id_], upstream) >= read_id}
        return days - mended

    def _wrote_nothing(self, table: Table, ids: Collection[int]) -> set[int]:
        """Those materialisations after which the table was as empty as it was made."""
        return {record.storage_id for record in self._records(table, ids) if _delta_version(record) == 0}

    def _records(self, table: Table, ids: Collection[int]) -> Iterable[dg.EventLogRecord]:
        if not ids:
            return []
        wanted = dg.AssetRecordsFilter(table.asset_key, storage_ids=list(ids))
        return self._instance.fetch_materializations(wanted, limit=len(ids)).records


def _delta_version(record: dg.EventLogRecord) -> object:
    materialized = record.asset_materialization
    version = materialized.metadata.get("delta_version") if materialized else None
    return version.value if version else None


def _tags(record: dg.EventLogRecord) -> Mapping[str, str]:
    materialized = record.asset_materialization
    return (materialized.tags or {}) if materialized else {}


def _read_id(record: dg.EventLogRecord, upstream: Table) -> int:
    """The storage id of the upstream materialisation that this one read, 0 where none is known."""
    tag = _tags(record).get(f"dagster/input_event_pointer/{upstream.asset_key.to_user_string()}", "")
    return int(tag) if tag.isdigit() else 0


def _code_version(record: dg.EventLogRecord) -> str | None:
    """None where the code had no version: Dagster then puts the run's id."""
    version = _tags(record).get("dagster/code_version")
    return None if version == record.run_id else version


def _score_ids(instance: dg.DagsterInstance) -> Mapping[str, int]:
    return instance.get_latest_storage_id_by_partition(
        CHURN_PREDICTIONS.asset_key, DagsterEventType.ASSET_MATERIALIZATION
    )


def _latest_records(instance: dg.DagsterInstance, key: dg.AssetKey) -> Sequence[dg.EventLogRecord]:
    return instance.fetch_materializations(key, limit=1).records


def _latest_tags(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str]:
    event = instance.get_latest_materialization_event(key)
    return (event.asset_materialization.tags or {}) if event and event.asset_materialization else {}
