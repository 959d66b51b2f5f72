"""Delta tables as delta-rs opens them, kept until their log gains a commit.

Opening one reads its log, 6 ms for half a year of dates, and a run asks its tables hundreds of times.
Whether the log is still the same takes a look at its folder and its last commit: a tenth of a millisecond,
and one request where it is in a bucket.
"""

import os
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from churn_assets import bucket
from churn_assets.errors import HOW_TO_SEE, DamagedError, one_line


class _LastCommit(NamedTuple):
    """The last file of a log; a table that was moved away and made again has another of the same name."""

    name: str
    identity: int | str
    size: int
    changed_ns: int


# Folder -> the last commit when it was opened, and the table as it was then. Nobody updates these.
_OPENED: dict[Path, tuple[_LastCommit, DeltaTable]] = {}


def opened(location: Path) -> DeltaTable | None:
    """Return the table at its latest version, to be read and not to be changed; None where there is none.

    Raises:
        DamagedError: its log cannot be read, or ends with a commit that has no content.
    """
    kept = _OPENED.get(location)
    last = _last_commit(location, kept[0].name if kept else "")
    if last is None:
        _OPENED.pop(location, None)
        return None
    if kept and kept[0] == last:
        return kept[1]
    # delta-rs and Sail read past it, as if the commit had never been. Alone it is a table half made.
    if last.size == 0 and int(last.name[:20]) > 0:
        raise DamagedError(f"The log of {location} ends with an empty commit, {last.name}. {HOW_TO_SEE}")
    if not DeltaTable.is_deltatable(str(location)):
        return None
    try:
        # A commit that comes meanwhile is a newer version under an older name: opened once more next time.
        table = DeltaTable(location)
    except DeltaError as error:
        raise DamagedError(
            f"The log of {location} cannot be read ({one_line(error)}). {HOW_TO_SEE}"
        ) from error
    _OPENED[location] = last, table
    return table


def opened_existing(location: Path) -> DeltaTable:
    """Return the same of a table that must exist.

    Raises:
        TableNotFoundError: delta-rs's own, where it does not.
    """
    return opened(location) or DeltaTable(location)


def live_files(table: DeltaTable) -> pa.Table:
    """Return the files of the table's version: path, size_bytes, num_records and ``partition.<column>``."""
    # Not by pa.table, which imports pandas to see whether this is a frame of it: a third of a second.
    return pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()


def _last_commit(location: Path, known: str) -> _LastCommit | None:
    log = location / "_delta_log"
    if bucket.is_bucket(location):
        # From the one that was the last, and from the first on where that is gone.
        found = bucket.last_numbered(log, known[:20]) or (bucket.last_numbered(log) if known else None)
        return _LastCommit(found.name, found.tag, found.size, 0) if found else None
    try:
        with os.scandir(log) as entries:
            name = max((entry.name for entry in entries if entry.name[:20].isdigit()), default=None)
        if name is None:
            return None
        status = (log / name).stat()
    except OSError:
        # None yet, or moved away while it was looked at.
        return None
    return _LastCommit(name, status.st_ino, status.st_size, status.st_mtime_ns)
