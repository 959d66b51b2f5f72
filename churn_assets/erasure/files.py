"""Everything beside tables and event files: databases of Dagster and MLflow, logs, pages, samples, copies."""

import csv
import io
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from churn_assets.erasure.people import People
from churn_assets.lakehouse import erased_users
from churn_assets.settings import Settings
from churn_assets.sqlite_files import BUSY_SECONDS

SQLITE = b"SQLite format 3\0"
WITH_SAMPLES = "md_str"
NO_SAMPLE = "Rows of an erased user were shown here. The next materialisation shows others."

# Texts that people and programs read, by their suffixes; compute logs are .out and .err.
TEXTS = (".csv", ".err", ".html", ".json", ".jsonl", ".log", ".md", ".out", ".txt", ".yaml", ".yml")


def databases(settings: Settings) -> list[Path]:
    """Return the SQLite files of Dagster's history and of the lake's own MLflow."""
    roots = (settings.dagster_home_folder, settings.mlflow_folder)
    return [file for root in roots for file in _files(root) if _begins(file) == SQLITE]


def texts(settings: Settings) -> list[Path]:
    """Return logs, pages, records and notes of the lake and of Dagster: no table, no model, no event file."""
    apart = _apart(settings)
    return [
        file
        for root in dict.fromkeys((settings.lake_root, settings.dagster_home_folder))
        for file in _files(root)
        if file.suffix in TEXTS and not any(file.is_relative_to(folder) for folder in apart)
    ]


def clean_database(path: Path, people: People, *, dry_run: bool = False) -> int:
    """Take the ids out of all texts of a SQLite file, and samples of rows that have them.

    What was there is overwritten, and the file made anew, so that no free page keeps it.

    Returns:
        How many values had them.
    """
    changed = 0
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE" if not dry_run else "BEGIN")
        for table, column in list(_text_columns(connection)):
            rows = connection.execute(f'SELECT rowid, "{column}" FROM "{table}"')  # noqa: S608 - the file's own names
            for rowid, value in rows.fetchall() if rows else ():
                if not isinstance(value, str) or not people.may_be_in(value):
                    continue
                cleaned = cleaned_text(value, people)
                if cleaned == value:
                    continue
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


def cleaned_text(text: str, people: People) -> str:
    """Return a text, JSON or not, without the ids; a sample of rows that has one is left out as a whole."""
    if WITH_SAMPLES in text:
        try:
            content = json.loads(text)
        except ValueError:
            return people.redacted(text)
        cleaned = _without_samples(content, people)
        text = text if cleaned == content else json.dumps(cleaned, sort_keys=True)
    return people.redacted(text)


def clean_text(path: Path, people: People, *, dry_run: bool = False) -> int:
    """Take the ids out of a text file; rows of a CSV file with a user_id go as a whole.

    Returns:
        How many lines had them.
    """
    try:
        before = path.read_text()
    except (OSError, UnicodeDecodeError):
        return 0
    if not people.may_be_in(before):
        return 0
    after = _csv_without(before, people) if path.suffix == ".csv" else cleaned_text(before, people)
    if after == before:
        return 0
    if not dry_run:
        draft = path.with_name(f".{path.name}.erasing")
        draft.write_text(after)
        draft.chmod(path.stat().st_mode & 0o777)
        os.replace(draft, path)  # noqa: PTH105 - atomically, on the same file system
    kept = set(after.splitlines())
    return sum(line not in kept for line in before.splitlines())


def still_named(settings: Settings, people: People) -> list[Path]:
    """Return files of the lake, but tables, that still have a telling source id in their bytes or name."""
    return [
        file
        for root in dict.fromkeys((settings.lake_root, settings.dagster_home_folder))
        for file in _files(root)
        if people.redacted(str(file.name)) != file.name
        or (file.suffix != ".parquet" and people.is_mentioned_in(file))
    ]


def _csv_without(text: str, people: People) -> str:
    head, *lines = text.splitlines(keepends=True)
    columns = next(csv.reader(io.StringIO(head)), [])
    if "user_id" not in columns:
        return people.redacted(text)
    place = columns.index("user_id")
    rows = zip(lines, csv.reader(io.StringIO("".join(lines))), strict=False)
    return head + "".join(line for line, row in rows if len(row) <= place or not people.is_user(row[place]))


def _without_samples(content: Any, people: People) -> Any:
    if isinstance(content, dict):
        return {
            name: NO_SAMPLE
            if name == WITH_SAMPLES and isinstance(one, str) and people.may_be_in(one)
            else _without_samples(one, people)
            for name, one in content.items()
        }
    if isinstance(content, list):
        return [_without_samples(one, people) for one in content]
    return content


def _text_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for (table,) in connection.execute(tables).fetchall():
        for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if any(word in str(kind).upper() for word in ("TEXT", "CHAR", "CLOB")):
                yield table, column


def _apart(settings: Settings) -> list[Path]:
    catalogs = [settings.lake_root / name for name in (settings.raw_catalog, settings.main_catalog)]
    own = [erased_users.folder(settings), settings.mlflow_folder / "artifacts" / "models"]
    landing = [] if "://" in settings.landing_root else [Path(settings.landing_root)]
    return [*catalogs, *own, *landing]


def _files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]


def _begins(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(len(SQLITE))
    except OSError:
        return b""
