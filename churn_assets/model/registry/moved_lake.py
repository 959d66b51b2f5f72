"""MLflow's artifacts after their lake was renamed, moved or copied: its database has absolute paths.

No relative path would do: MLflow takes one from the working directory. So the paths follow when the registry
is opened, in one transaction, and a copy of a lake never reads or writes the artifacts of the original.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from churn_assets import bucket, stored_databases
from churn_assets.model.registry.mlflow_database import BUSY_SECONDS

# Where MLflow 3.17 keeps a place of artifacts. What a run says it has read stays as it was.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)

# The end of the path of every lake's own artifacts; elsewhere somebody has put them on purpose.
OWN = "/mlflow/artifacts"


def follow(database: Path, experiment: str, artifacts: str) -> str | None:
    """Let the database name the artifacts where the lake is now.

    Args:
        database: the lake's own, complete.
        experiment: whose place of artifacts tells where the lake was.
        artifacts: the URI of the folder beside the database.

    Returns:
        The URI under which they were before; None where nothing had moved.
    """
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        found = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
        before = found[0] if found else artifacts
        if not before or before == artifacts or not has_moved(before, artifacts):
            return None
        connection.execute("BEGIN IMMEDIATE")
        rewrite(connection.execute, before, artifacts, partial(stored_databases.has_table, connection))
        connection.execute("COMMIT")
    return before


def rewrite(
    execute: Callable[[str, Sequence[Any]], Any], before: str, artifacts: str, is_made: Callable[[str], bool]
) -> None:
    """Let all places below one URI be below another.

    Args:
        execute: runs a statement with question marks, in a transaction of the caller's.
        before: the URI that is in the database.
        artifacts: the URI that is to be there.
        is_made: whether the database has a table.
    """
    for table, column in PLACES:
        # Earlier releases of MLflow had no logged models.
        if is_made(table):
            execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - our own names
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (artifacts, len(before) + 1, before, len(before) + 1, f"{before}/"),
            )


def place_now(uri: str, artifacts: str) -> str:
    """Return where a place of artifacts is, whether or not the database has followed a move of its lake."""
    before, own, rest = uri.rpartition(OWN)
    root = f"{before}{own}"
    return f"{artifacts}{rest}" if own and root != artifacts and has_moved(root, artifacts) else uri


def folder_of(uri: str) -> Path | None:
    """Return the folder, or prefix of a bucket, that a place of artifacts names; None where it is neither."""
    if bucket.is_bucket(uri):
        return bucket.path(uri)
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("file", "") else None


def has_moved(before: str, artifacts: str) -> bool:
    """Whether two URIs name the artifacts of lakes in different folders."""
    old, new = folder_of(before), folder_of(artifacts)
    if old is None or new is None or not str(old).endswith(OWN):
        return False
    if not old.is_dir():
        return True
    if bucket.is_bucket(old) or bucket.is_bucket(new):
        return new.is_dir()
    # Two names of one folder, as by a link, are no move; nor is a database that was copied alone.
    return new.is_dir() and not old.samefile(new)
