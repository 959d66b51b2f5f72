"""Dagster's own PostgreSQL storage, on the database of ``CHURN_DATABASE_URL``.

Dagster's configuration thereby holds no address and no password, and what it shows of itself neither. Dagster
connects for each statement, which for a range of dates takes longer than the computation (docs/adr/0006), so
each storage keeps a connection.

This module must stay where it is: the ``dagster.yaml`` of lakes with a database names it.
"""

from collections.abc import Mapping
from typing import Any, Self

from dagster._config import UserConfigSchema  # what the interface of storages asks for, exported nowhere else
from dagster._serdes import ConfigurableClassData  # the type that ConfigurableClass hands over
from dagster_postgres import DagsterPostgresStorage

from churn_assets import postgres, settings
from churn_assets.errors import SettingsError

NO_TIMEOUT = 0
RECYCLE_SECONDS = 600
# Of threads that ask at once; those beyond the first are closed after use.
MORE_CONNECTIONS = 20


class LakePostgresStorage(DagsterPostgresStorage):
    """``DagsterPostgresStorage`` on the database that the settings name."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Take nothing from the configuration."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override] - as Dagster's own
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Open the database of the settings, and make Dagster's tables where they are missing.

        Raises:
            SettingsError: no database is set.
            DatabaseUnavailableError: it cannot be used; Dagster itself would end with a trace.
        """
        del config_value
        database = settings.load().database
        if database is None:
            raise SettingsError(
                "Dagster's history of this lake is in PostgreSQL (see dagster.yaml in DAGSTER_HOME), and "
                "CHURN_DATABASE_URL is not set. Set it; or, to begin a new history in files, remove that "
                "dagster.yaml"
            )
        with postgres.connected(database):
            pass
        storage = cls(database.for_sqlalchemy(), inst_data=inst_data)
        for one in (storage.event_log_storage, storage.run_storage, storage.schedule_storage):
            # Dagster's own way to keep one, by the name of who asked for it first.
            one.optimize_for_webserver(NO_TIMEOUT, RECYCLE_SECONDS, MORE_CONNECTIONS)
        return storage
