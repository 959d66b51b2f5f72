"""What Dagster and MLflow have stored, read here where their own packages would take seconds to import."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from churn_assets import postgres, sqlite_files
from churn_assets.errors import one_line
from churn_assets.postgres import Look, Postgres

Place = Path | Postgres


class UnreadableDatabaseError(Exception):
    """It is missing, no database, or has not the tables that were asked for."""


@contextmanager
def reading(place: Place) -> Iterator[sqlite3.Connection | Look]:
    """Open a database that exists, to look into it: both kinds run a statement with question marks.

    Args:
        place: a file of SQLite, or a schema of PostgreSQL.

    Raises:
        DatabaseUnavailableError: the server cannot be used; for people to mend.
        UnreadableDatabaseError: there is none, or a statement cannot be run.
    """
    if isinstance(place, Path):
        try:
            with sqlite_files.reading(place) as connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise UnreadableDatabaseError(f"{place} cannot be read: {error}") from error
        return
    import psycopg2

    try:
        with postgres.connected(place) as look:
            yield look
    except psycopg2.Error as error:
        said = one_line(place.without_secrets(str(error)))
        raise UnreadableDatabaseError(f"{place} cannot be read: {said}") from error


def has_table(look: sqlite3.Connection | Look, name: str) -> bool:
    """Whether the database has a table of this name."""
    if isinstance(look, Look):
        return look.has_table(name)
    return (
        look.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone()
        is not None
    )
