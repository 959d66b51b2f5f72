"""The databases of Dagster and MLflow, files of SQLite or one of PostgreSQL: their texts lose the ids."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from churn_assets import postgres
from churn_assets.erasure.files import cleaned_text, files_below
from churn_assets.erasure.people import People
from churn_assets.errors import BusyError, one_line
from churn_assets.postgres import Postgres
from churn_assets.settings import Settings
from churn_assets.sqlite_files import BUSY_SECONDS
from churn_assets.stored_databases import Place

SQLITE = b"SQLite format 3\0"
KEPT_BY_THE_SERVER = (
    "PostgreSQL's write-ahead log, its archive and its backups have what was there until they are recycled: "
    "that is their owner's to see to"
)

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
# Of Dagster's and of MLflow's schema: one database is one lake's.
_COLUMNS = """
    SELECT format('%I.%I', table_schema, table_name), quote_ident(column_name)
    FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
    AND data_type IN ('text', 'character varying', 'character')
    ORDER BY 1, 2
"""
# Rows are fetched in portions: a history has many, and some of megabytes.
_PORTION = 500


def databases(settings: Settings) -> list[Place]:
    """Return where Dagster's history and the lake's own MLflow are."""
    roots = (settings.dagster_home_folder, settings.mlflow_folder)
    found: list[Place] = [file for root in roots for file in files_below(root) if _begins(file) == SQLITE]
    return [*found, settings.database] if settings.database else found


def clean_database(place: Place, people: People, *, dry_run: bool = False) -> int:
    """Take the ids out of all texts of a database, and samples of rows that have them.

    What was there is overwritten and the tables are made anew, so that no free page keeps it.

    Returns:
        How many values had them.

    Raises:
        BusyError: somebody else holds a table of PostgreSQL.
        DatabaseUnavailableError: PostgreSQL cannot be reached.
    """
    if isinstance(place, Path):
        return _clean_file(place, people, dry_run=dry_run)
    return _clean_server(place, people, dry_run=dry_run)


def _clean_file(path: Path, people: People, *, dry_run: bool) -> int:
    changed = 0
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE" if not dry_run else "BEGIN")
        for table, column in list(_text_columns(connection)):
            rows = connection.execute(f'SELECT rowid, "{column}" FROM "{table}"')  # noqa: S608 - the file's own names
            for rowid, cleaned in _cleaned(rows.fetchall(), people):
                changed += 1
                if not dry_run:
                    sql = f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?'  # noqa: S608 - as above
                    connection.execute(sql, (cleaned, rowid))
        connection.execute("COMMIT")
        if not dry_run:
            # Whatever was changed: rows that were deleted long ago may be in free pages still.
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return changed


def _clean_server(database: Postgres, people: People, *, dry_run: bool) -> int:
    import psycopg2

    changed = 0
    try:
        with postgres.connected(database, lock_timeout=f"{BUSY_SECONDS}s") as look:
            columns = look.execute(_COLUMNS).fetchall()
            for table, column in columns:
                changed += _clean_column(look.connection, table, column, people, dry_run=dry_run)
            for table in dict.fromkeys(table for table, _ in columns) if not dry_run else ():
                look.execute(f"VACUUM FULL {table}")
    except psycopg2.errors.LockNotAvailable:
        raise BusyError(
            f"The database {database} is in use: a table could not be locked in {BUSY_SECONDS} seconds. Stop "
            "Dagster's web server, daemon and code location, MLflow and the scoring server, and ask again."
        ) from None
    except psycopg2.Error as error:
        said = one_line(database.without_secrets(str(error)))
        raise BusyError(f"The database {database} could not be cleaned: {said}. Ask again.") from None
    return changed


def _clean_column(connection: Any, table: str, column: str, people: People, *, dry_run: bool) -> int:
    """Clean one column in a transaction of its own, which lets readers go on and writers wait."""
    changed = 0
    connection.autocommit = False
    try:
        with connection, connection.cursor() as writer, connection.cursor(name="rows") as rows:
            if not dry_run:
                # A row that somebody else changed meanwhile would have another place.
                writer.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            rows.itersize = _PORTION
            rows.execute(f"SELECT ctid, {column} FROM {table}")  # noqa: S608 - the database's own names, quoted
            for place, cleaned in _cleaned(rows, people):
                changed += 1
                if not dry_run:
                    sql = f"UPDATE {table} SET {column} = %s WHERE ctid = %s"  # noqa: S608 - as above
                    writer.execute(sql, (cleaned, place))
    finally:
        connection.autocommit = True
    return changed


def _cleaned(rows: Iterable[tuple[Any, Any]], people: People) -> Iterator[tuple[Any, str]]:
    for place, value in rows:
        if not isinstance(value, str) or not people.may_be_in(value):
            continue
        cleaned = cleaned_text(value, people)
        if cleaned != value:
            yield place, cleaned


def _text_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for (table,) in connection.execute(_TABLES).fetchall():
        for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if any(word in str(kind).upper() for word in ("TEXT", "CHAR", "CLOB")):
                yield table, column


def _begins(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(len(SQLITE))
    except OSError:
        return b""
