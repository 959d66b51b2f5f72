"""Dagster's own SQLite event log storage, with its connections kept open.

A range of dates is one run with an event for each partition. Dagster opens and closes the database twice for
each event, and SQLite syncs the disk each time: 374 dates of one asset cost 6 s on an idle disk and 48 s on a
busy one. With one open connection for each database, and synchronous=NORMAL as SQLite advises for write-ahead
logs, they cost 2 s. A power cut may lose the last events of the history, never corrupt it; no table depends
on it.

This module must stay where it is: the ``dagster.yaml`` of every lake names it. What the log holds is read by
``history.log_reader``.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log import (
    SqliteEventLogStorage,
)  # documented as a base, exported nowhere else
from dagster._core.storage.event_log.schema import (
    SqlEventLogStorageMetadata,
)  # the tables of each database, exported nowhere else
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.sql import get_alembic_config  # where the revisions are, exported nowhere else
from dagster._core.storage.sqlite import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
)  # Dagster's own timeout, exported nowhere else
from dagster._serdes import ConfigurableClassData  # the type that ConfigurableClass hands over
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError

# The index and the current run; a webserver reads many runs and must not keep a file open for each.
OPEN_DATABASES = 4


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """``SqliteEventLogStorage`` for one machine, with the same files and one open connection to each."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Use Dagster's default folder below ``base_dir``, which is DAGSTER_HOME."""
        return cls(str(Path(config_value["base_dir"]) / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Create the tables of a run's database, as Dagster does, with the revisions read once a process.

        Dagster reads ninety files for each run, which takes longer than all events of a short one.
        """
        if not for_index_shard:
            # Where another process makes the same one, Dagster's own waits for it.
            with suppress(DatabaseError):
                _make_run_database(engine)
                return
        super()._initdb(engine, for_index_shard)

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            engine = sa.create_engine(
                self.conn_string_for_shard(shard),
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _sync_at_checkpoints_only)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        while len(self._engines) > OPEN_DATABASES:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def wipe(self) -> None:
        """Delete all runs, after closing their files, which are removed."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the databases."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()


def _make_run_database(engine: Engine) -> None:
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision():
            return
    with engine.connect() as connection:
        # Not in a transaction, in which SQLite does not change it.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    with engine.begin() as connection:
        SqlEventLogStorageMetadata.create_all(connection)
        MigrationContext.configure(connection).stamp(_revisions(), "head")


@cache
def _revisions() -> ScriptDirectory:
    return ScriptDirectory.from_config(get_alembic_config(sqlite_event_log.__file__))


def _sync_at_checkpoints_only(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
