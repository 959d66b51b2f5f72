"""Dagster instances in memory, and what one of them remembers of another."""

import sqlite3
from typing import Any

import dagster as dg


def remember(instance: dg.DagsterInstance, history: dg.DagsterInstance) -> None:
    """Let the one know what the other does, as if it had seen the same runs. Both are ephemeral."""
    for name in ("run_storage", "event_log_storage"):
        _database(getattr(history, name)).backup(_database(getattr(instance, name)))


def _database(storage: Any) -> sqlite3.Connection:
    # In memory: it lives as long as this connection is held.
    return storage._held_conn.connection.driver_connection
