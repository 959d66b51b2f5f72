"""A history written by hand: what runs leave in Dagster and in the ledger, without the runs."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.dates import DateRange
from churn_assets.lakehouse.computed_dates.checked_ledger import CheckedLedger
from churn_assets.lakehouse.computed_dates.rows import LedgerRows, Row, ledger_name, parameters_text
from churn_assets.lakehouse.freshness import LABELLED_TABLES
from churn_assets.settings import Settings
from churn_assets.tables import (
    ARRIVALS,
    CHURN_PREDICTIONS,
    DATED,
    EVENTS,
    LANDED_EVENTS,
    MODEL_PROMOTIONS,
    OTHER_AGES,
    USERS,
    Table,
)

Days = Iterable[dt.date]


class Log:
    """Writes into an instance, and into a ledger, what each kind of run would."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings | None = None) -> None:
        self.instance = instance
        self.rows: list[Row] = []
        self.lost: dict[Table, Mapping[dt.date, int]] = {}
        self._settings = settings

    @property
    def ledger(self) -> CheckedLedger:
        """The ledger, and which tables it does not know."""
        return CheckedLedger(LedgerRows(self.rows), self.lost)

    @property
    def number(self) -> int:
        """Of the last note."""
        return self.ledger.rows.last_note

    def wrote(
        self, key: dg.AssetKey, version: str = "1", read: dict[Table, str] | None = None, **more: Any
    ) -> None:
        """One materialisation: its data version, and the data version of each upstream that it read."""
        tags = {"dagster/data_version": version}
        for upstream, data_version in (read or {}).items():
            tags[f"dagster/input_data_version/{asset_key(upstream).to_user_string()}"] = data_version
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, tags=tags, **more))

    def ingested(
        self,
        events: Days = (),
        version: str = "1",
        *,
        arrivals: Days = (),
        other_ages: Days = (),
        bronze: Mapping[str, Any] | None = None,
    ) -> None:
        """All of an ingestion that brought events of these days, and whose users changed on those."""
        self.wrote(asset_key(LANDED_EVENTS), version, metadata=bronze)
        self.wrote(asset_key(EVENTS), version, {LANDED_EVENTS: version})
        self.wrote(asset_key(USERS), version, {EVENTS: version})
        self.note(EVENTS, events)
        read = self.number
        self.rows.append(Row(ledger_name(USERS), None).numbered(read + 1)._replace(read=read))
        self.note(USERS, arrivals, ARRIVALS)
        self.note(USERS, other_ages, OTHER_AGES)

    def note(self, table: Table, days: Days, heading: str = "", **more: Any) -> None:
        """One note of the ledger, by a writer that began to read a moment ago."""
        read, settings = self.number, self._settings
        values = parameters_text(table, settings) if settings else None
        row = Row(ledger_name(table, heading), None, rows=1, read=read, parameters=values)._replace(**more)
        self.rows += [row._replace(computed_date=day).numbered(read + 1) for day in days]

    def computed(self, table: Table, dates: Days, read: int | None = None, **more: Any) -> None:
        """These dates, by a run that began to read at this note of the ledger, or a moment ago."""
        dates = list(dates)
        for day in dates:
            self.wrote(asset_key(table), "1", partition=day.isoformat(), **more)
        self.note(table, dates, "", **({} if read is None else {"read": read}))

    def computed_all(self, dates: DateRange, horizon: int) -> None:
        """Everything of these dates, as a first run leaves it, and a model."""
        for table in DATED:
            last = len(list(dates.days())) - (horizon if table in LABELLED_TABLES else 0)
            self.computed(table, list(dates.days())[:last])
        self.trained("1")

    def moved_away(self, table: Table) -> None:
        """The table is gone, and the ledger's rows of it are those of another."""
        self.lost[table] = {}

    def trained(self, production: str) -> None:
        """A training, which notes what is Production after it; "none" where it left nothing."""
        self.wrote(CHURN_PREDICTION_MODEL, production)
        self.noted(production)

    def noted(self, production: str) -> None:
        """What the alias names, as model_promotions finds it."""
        self.wrote(asset_key(MODEL_PROMOTIONS), metadata={"champion": production})

    def scored(self, dates: Days, version: str) -> None:
        """Predictions that say which version made them."""
        self.computed(CHURN_PREDICTIONS, dates, metadata={"model_version": version})

    def id(self, key: dg.AssetKey) -> int:
        """The storage id of the last materialisation."""
        records = self.instance.fetch_materializations(key, limit=1).records
        return records[0].storage_id if records else 0
