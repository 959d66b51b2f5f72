"""What the page of the scoring server shows of the erased."""

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from churn_assets.erasure import published
from churn_assets.erasure.people import People
from churn_assets.errors import EndpointError
from churn_assets.serving import versions
from churn_assets.serving.page.store import FILE, connected, opened, write_columns
from churn_assets.serving.shared_store import PAGE
from churn_assets.settings import Settings


def count(settings: Settings, people: People) -> int:
    """Count these users in what the page shows, of any version."""
    with published.all_versions(settings, PAGE) as folders:
        return len({user_id for folder in folders for user_id in _theirs(folder / FILE, people)})


def clean(settings: Settings, people: People) -> None:
    """Publish what the page shows without these users, and remove what was published before.

    A version that cannot be read goes as a whole: the next run publishes another.
    """
    with published.all_versions(settings, PAGE) as folders:
        if not any(list(_theirs(one / FILE, people)) or not _is_readable(one) for one in folders):
            return
    with published.replacing(settings, PAGE) as folder:
        try:
            snapshot = opened(folder)
        except EndpointError:
            (folder / versions.POINTER).unlink(missing_ok=True)
            return
        if snapshot is None:
            return
        snapshot.close()
        old, countries = folder / versions.current_version(folder), snapshot.about.countries

        def write(target: Path) -> None:
            shutil.copyfile(old / FILE, target / FILE)
            _remove(target / FILE, people, countries)

        versions.add(folder, f"{old.name.rpartition('-')[0]}-{uuid.uuid4().hex[:12]}", write)


def _remove(file: Path, people: People, countries: tuple[str | None, ...]) -> None:
    ids = [(user_id,) for user_id in set(_theirs(file, people))]
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN")
        for table in ("listed", "users"):
            connection.executemany(f"DELETE FROM {table} WHERE user_id = ?", ids)  # noqa: S608 - our own names
        write_columns(connection, countries)
        connection.execute("COMMIT")
        # No free page may keep what was there.
        connection.execute("VACUUM")


def _theirs(file: Path, people: People) -> Iterator[int]:
    """Return the user_ids of these users in a file; none of one that cannot be read."""
    try:
        with closing(connected(file)) as connection:
            for table in ("users", "listed"):
                for column, wanted in (("user_id", people.user_ids), ("source_user_id", people.source_ids)):
                    for one in wanted:
                        sql = f"SELECT user_id FROM {table} WHERE {column} = ?"  # noqa: S608 - our own names
                        yield from (row[0] for row in connection.execute(sql, (one,)))
    except sqlite3.Error:
        return


def _is_readable(folder: Path) -> bool:
    try:
        with closing(connected(folder / FILE)) as connection:
            connection.execute("SELECT count(*) FROM users")
    except sqlite3.Error:
        return False
    return True
