"""A table in a folder put back to an earlier Delta version, with the ledger of dates following."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from churn_assets.errors import LakeError, one_line
from churn_assets.lakehouse import commits, damage, mending
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.maintenance import NO_CLEAN_UP
from churn_assets.lakehouse.opened import live_files, opened_existing
from churn_assets.tables import DATED, EVENTS, USERS, Table

# What the next run brings up to date from what it was made of.
RESTORABLE = (EVENTS, USERS, *DATED)


@dataclass(frozen=True)
class Restored:
    """A restored table: the version that was current, the one put back, and the number it has now.

    ``dates`` hold other rows than the ledger had noted: they are computed again, and what reads them.
    """

    table: Table
    before: int
    target: int
    version: int
    dates: frozenset[dt.date]


def restore(lake: FolderLakehouse, table: Table, target: int) -> Restored:
    """Put a table back, as one commit more.

    Args:
        lake: where it is; nobody else writes it.
        table: one of ``RESTORABLE``.
        target: the Delta version.

    Raises:
        LakeError: the version is not there any more, or was never; nothing was changed.
    """
    location = lake.location(table)
    with lake.lock(table):
        if says := damage.log_damage(location):
            raise LakeError(f"The log of {lake.table_name(table)} is damaged: {says}. First: churn repair")
        before = opened_existing(location).version()
        past = _past(lake, table, target, before)
        changed = frozenset(_changed_dates(lake, table, past))
        is_other = table.partition_column is None and _differs(lake, table, past)
        DeltaTable(location).restore(target, post_commithook_properties=NO_CLEAN_UP)
        mending.note_as_before(lake, table, changed)
        if table is EVENTS:
            # Lines that Bronze has are cleaned again, and users who are gone with their events are made anew.
            mending.note_unknown(lake, EVENTS)
            mending.note_unknown(lake, USERS)
        elif is_other:
            mending.note_unknown(lake, table)
    return Restored(table, before, target, lake.version(table), changed)


def version_at(lake: FolderLakehouse, table: Table, when: dt.datetime) -> int:
    """Return the version that a table had at a time.

    Raises:
        LakeError: it was not there yet, or its log does not reach back so far.
    """
    times = commits.commit_times(lake.location(table))
    versions = [version for version, ms in times.items() if ms <= when.timestamp() * 1000]
    if not versions:
        first = dt.datetime.fromtimestamp(min(times.values()) / 1000, dt.UTC)
        raise LakeError(
            f"The log of {lake.table_name(table)} begins at {first:%Y-%m-%dT%H:%M:%S}Z, after "
            f"{when.isoformat()}. Choose a later time."
        )
    return max(versions)


def _past(lake: FolderLakehouse, table: Table, target: int, before: int) -> DeltaTable:
    name, location = lake.table_name(table), lake.location(table)
    if not 0 <= target < before:
        raise LakeError(
            f"{name} is at version {before}, and {target} is no earlier one: choose one of 0 to "
            f"{before - 1}, or a time (--at)."
        )
    try:
        past = DeltaTable(location, version=target)
    except DeltaError as error:
        raise LakeError(
            f"The log of {name} no longer knows version {target} ({one_line(error, max_length=120)}). "
            "Choose a later one, or restore the lake from a backup."
        ) from error
    if gone := damage.damaged_files(past, location):
        raise LakeError(
            f"{len(gone)} files of version {target} of {name} are gone ({gone[0].path} {gone[0].says}): "
            "churn maintain removes what no table and no model needs. Choose a later version, or restore the "
            "lake from a backup."
        )
    return past


def _changed_dates(lake: FolderLakehouse, table: Table, past: DeltaTable) -> set[dt.date]:
    """Return the dates whose files are not those that the ledger's last note was about."""
    if table.partition_column is None:
        return set()
    then, noted = _files_by_date(table, past), _noted(lake, table)
    known = _files_by_date(table, noted) if noted else {}
    return {day for day in {*then, *known} if then.get(day) != known.get(day)}


def _differs(lake: FolderLakehouse, table: Table, past: DeltaTable) -> bool:
    noted = _noted(lake, table)
    return noted is None or set(noted.file_uris()) != set(past.file_uris())


def _noted(lake: FolderLakehouse, table: Table) -> DeltaTable | None:
    """Return the version that the ledger's last note is about; None where it is not known for sure."""
    row = lake.ledger.read().table(table)
    if row is None or row.is_open or row.delta_version is None:
        return None
    log = lake.log_since(table, row.delta_version)
    if log is None or log.commit is None or log.commit != row.delta_commit:
        return None
    return DeltaTable(lake.location(table), version=row.delta_version)


def _files_by_date(table: Table, version: DeltaTable) -> dict[dt.date, set[str]]:
    files = live_files(version)
    by_date: dict[dt.date, set[str]] = {}
    days = files[f"partition.{table.partition_column}"].to_pylist()
    for day, path in zip(days, files["path"].to_pylist(), strict=True):
        by_date.setdefault(day, set()).add(Path(path).name)
    return by_date
