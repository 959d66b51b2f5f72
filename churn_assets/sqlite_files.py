"""SQLite files of Dagster and MLflow, read here where their own packages would take seconds to import."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

# A writer holds a file for milliseconds, and on a busy machine for seconds.
BUSY_SECONDS = 60


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that exists, to look into it; none is made.

    Not read-only: that would leave the files of the write-ahead log behind, and not play back the journal of
    a writer that was killed.

    Raises:
        sqlite3.DatabaseError: it is missing, or no database.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
        yield connection
