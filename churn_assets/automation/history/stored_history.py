"""When each asset was last materialised, by the database of Dagster's history alone, for ``churn status``.

Importing Dagster and opening its instance take two seconds. Its tables are no interface, so this reads only
what the lake's own configuration and the revision that it knows have made: any other history is for Dagster.
"""

import datetime as dt
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from churn_assets import postgres, stored_databases
from churn_assets.asset_paths import AssetPath
from churn_assets.settings import Settings
from churn_assets.stored_databases import Place, UnreadableDatabaseError

# Of Dagster 1.13, by Alembic.
KNOWN_REVISION = "29b539ebc72a"
CONFIGURATION = "dagster.yaml"


class StoredMaterialization(NamedTuple):
    """An asset's last materialisation: when (UTC), and what of its metadata is JSON, by name."""

    written_at: dt.datetime
    json_metadata: Mapping[str, Any]


class UnknownHistoryError(Exception):
    """The history is kept in another way: Dagster itself must be asked."""


def stored_materializations(settings: Settings) -> dict[AssetPath, StoredMaterialization]:
    """Return the last materialisation of each asset that has one.

    Raises:
        UnknownHistoryError: the configuration is not the lake's own, or the file is of another release.
    """
    home = settings.dagster_home_folder
    try:
        if not settings.database and (home / CONFIGURATION).read_text() != packaged_configuration():
            raise UnknownHistoryError(f"{home / CONFIGURATION} was changed")
        index = settings.database or home / "history" / "runs" / "index.db"
        return {tuple(json.loads(key)): _parsed(event) for key, event in _rows(index) if event}
    except (OSError, UnreadableDatabaseError, ValueError, LookupError, TypeError) as error:
        raise UnknownHistoryError(f"{home} cannot be read: {error}") from error


def is_there(settings: Settings) -> bool:
    """Whether the lake has a history, which opening Dagster's instance would make.

    Raises:
        DatabaseUnavailableError: it would be in a database that cannot be reached.
    """
    if settings.database is None:
        return (settings.dagster_home_folder / CONFIGURATION).exists()
    with postgres.connected(settings.database) as look:
        return look.has_table("event_logs")


def packaged_configuration() -> str:
    """Return the configuration that a new lake gets."""
    return (resources.files("churn_assets") / CONFIGURATION).read_text()


def _rows(index: Place) -> list[tuple[str, str | None]]:
    with stored_databases.reading(index) as connection:
        revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if revisions != [(KNOWN_REVISION,)]:
            raise UnknownHistoryError(f"{index} is of {revisions}")
        wiped = "SELECT 1 FROM asset_keys WHERE asset_details IS NOT NULL OR wipe_timestamp IS NOT NULL"
        if connection.execute(wiped).fetchone():
            raise UnknownHistoryError(f"{index} has wiped assets, whose events Dagster judges")
        return connection.execute("SELECT asset_key, last_materialization FROM asset_keys").fetchall()


def _parsed(event: str) -> StoredMaterialization:
    entry = json.loads(event)["event_log_entry"]
    entries = entry["dagster_event"]["event_specific_data"]["materialization"]["metadata_entries"]
    return StoredMaterialization(
        dt.datetime.fromtimestamp(entry["timestamp"], dt.UTC),
        {one["label"]: one["entry_data"]["data"] for one in entries if "data" in one["entry_data"]},
    )
