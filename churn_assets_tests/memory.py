"""Dagster instances in memory, and what one of them remembers of another."""

import sqlite3
from pathlib import Path
from typing import Any

import dagster as dg


def remember(instance: dg.DagsterInstance, history: dg.DagsterInstance) -> None:
    """Let the one know what the other does, as if it had seen the same runs. Both are ephemeral."""
    for name in ("run_storage", "event_log_storage"):
        _database(getattr(history, name)).backup(_database(getattr(instance, name)))


def _database(storage: Any) -> sqlite3.Connection:
    # In memory: it lives as long as this connection is held.
    return storage._held_conn.connection.driver_connection


def write_down(history: dg.DagsterInstance, home: Path) -> None:
    """Let the databases in a Dagster home know what an ephemeral instance does; they are there already."""
    files = {
        "run_storage": home / "history" / "runs.db",
        "event_log_storage": home / "history" / "runs" / "index.db",
    }
    for name, file in files.items():
        memory = _database(getattr(history, name))
        with sqlite3.connect(file) as disk:
            for (table,) in disk.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = _columns(disk, table) & _columns(memory, table)
                if table != "alembic_version" and columns:
                    names = ", ".join(f'"{column}"' for column in sorted(columns))
                    rows = memory.execute(f"SELECT {names} FROM {table}").fetchall()
                    disk.execute(f"DELETE FROM {table}")
                    places = ", ".join("?" * len(columns))
                    disk.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)
        disk.close()


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
