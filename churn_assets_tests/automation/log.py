"""A history written by hand: materialisations as the platform's runs leave them, without the runs."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import dagster as dg

from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.dates import DateRange
from churn_assets.lakehouse.evidence import DATED_TABLES, METADATA_NAME, Evidence
from churn_assets.lakehouse.freshness import OF_THE_PAST
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    EVENTS,
    LANDED_EVENTS,
    MODEL_PROMOTIONS,
    USERS,
    Table,
)

Days = Iterable[dt.date]


class Log:
    """Writes into an instance what each kind of run would."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def wrote(
        self, key: dg.AssetKey, version: str = "1", read: dict[Table, str] | None = None, **more: Any
    ) -> None:
        """One materialisation: its data version, and the data version of each upstream that it read."""
        tags = {"dagster/data_version": version}
        for upstream, found in (read or {}).items():
            name = upstream.asset_key.to_user_string()
            tags[f"dagster/input_data_version/{name}"] = found
            tags[f"dagster/input_event_pointer/{name}"] = str(self.id(upstream.asset_key))
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, tags=tags, **more))

    def ingested(self, evidence: Evidence, version: str = "1", **bronze: Any) -> None:
        """All of an ingestion."""
        self.wrote(LANDED_EVENTS.asset_key, version, metadata=bronze)
        self.wrote(EVENTS.asset_key, version, {LANDED_EVENTS: version})
        self.found(evidence, version)

    def found(self, evidence: Evidence, version: str = "1") -> None:
        """The users, and what they carry."""
        metadata = {METADATA_NAME: dg.MetadataValue.json(evidence.as_json())}
        self.wrote(USERS.asset_key, version, {EVENTS: version}, metadata=metadata)

    def computed(self, table: Table, dates: Days, upstream: Table | None = None, **more: Any) -> None:
        """A date after the other; they read the upstream as it is now."""
        for day in dates:
            read = {upstream: "1"} if upstream else {}
            self.wrote(table.asset_key, "1", read, partition=day.isoformat(), **more)

    def computed_all(self, dates: DateRange, horizon: int) -> None:
        """Everything of these dates, as a first run leaves it, and a model."""
        for table in DATED_TABLES:
            last = len(list(dates.days())) - (horizon if table in OF_THE_PAST else 0)
            self.computed(table, list(dates.days())[:last])
        self.trained("1")

    def trained(self, production: str) -> None:
        """A training, which notes what is Production after it; "none" where it left nothing."""
        self.wrote(CHURN_PREDICTION_MODEL, production)
        self.noted(production)

    def noted(self, production: str) -> None:
        """What the alias names, as model_promotions finds it."""
        self.wrote(MODEL_PROMOTIONS.asset_key, metadata={"champion": production})

    def scored(self, dates: Days, version: str) -> None:
        """Predictions that say which version made them."""
        self.computed(CHURN_PREDICTIONS, dates, metadata={"model_version": version})

    def id(self, key: dg.AssetKey) -> int:
        """The storage id of the last materialisation."""
        found = self.instance.fetch_materializations(key, limit=1).records
        return found[0].storage_id if found else 0


def all_written(event_days: Days, **wrong: Days) -> Evidence:
    """What tables say in which all is as it should be, but for what is named."""
    days = {name: frozenset(found) for name, found in wrong.items()}
    return Evidence(
        events=dict.fromkeys(event_days, 1), written=frozenset(table.name for table in DATED_TABLES), **days
    )
