"""All checks of a lake in folders, in the order of the graph."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import suppress

from churn_assets.errors import ChurnError, DamagedError, LandingError, one_line
from churn_assets.lakehouse.erased_users import FINISH, receipts, unfinished
from churn_assets.lakehouse.file_ledger import ahead_of
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.model.registry import registry
from churn_assets.tables import (
    ALL_TABLES,
    ASSET_TABLES,
    COMPUTED_DATES,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    Table,
)
from churn_assets.verification import databases, models, serving, tables
from churn_assets.verification.findings import Finding, damaged, well

Progress = Callable[[str], None]

LANDING = "landing zone"
ERASURES = "erasures"


def verify(
    lake: FolderLakehouse, *, deep: bool = False, progress: Progress = lambda _: None
) -> Iterator[Finding]:
    """Look at everything that the lake holds. Without ``deep`` no engine starts and no row is read.

    Args:
        lake: the lake; nothing in it is changed.
        deep: read every row, compare rows with contracts, look for keys that occur twice, account for each
            line, and load every model.
        progress: called with what is looked at.
    """
    progress("landing zone")
    yield _landing(lake)
    broken = set()
    for table in ALL_TABLES:
        progress(table.name)
        for finding in _table(lake, table, deep=deep):
            if not finding.is_well:
                broken.add(table)
            yield finding
    if not broken & {LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS} and lake.version(EVENTS) >= 0:
        progress("lines")
        yield tables.conservation(lake, deep=deep)
    if not broken and lake.version(COMPUTED_DATES) >= 0:
        progress("ledger of dates")
        yield from tables.ledger(lake)
    progress("databases and models")
    yield from _databases(lake, deep=deep, tables_are_well=not broken)
    progress("endpoint")
    yield from _serving(lake, deep=deep)
    yield from _erasures(lake)


def _table(lake: FolderLakehouse, table: Table, *, deep: bool) -> Iterator[Finding]:
    found = tables.files(lake, table, deep=deep)
    if found is None:
        return
    yield found
    if found.is_well and table in ASSET_TABLES:
        other = tables.contract(lake, table) or (tables.rows(lake, table) if deep else None)
        if other:
            yield other


def _databases(lake: FolderLakehouse, *, deep: bool, tables_are_well: bool) -> Iterator[Finding]:
    settings = lake.settings
    mlflow = databases.mlflow_database(settings, registry.database(settings), deep=deep)
    if mlflow:
        yield mlflow
    yield from databases.dagster_history(settings, deep=deep)
    if mlflow and mlflow.is_well:
        yield from models.versions(settings, deep=deep)
        if tables_are_well:
            yield from models.training_tables(lake)


def _serving(lake: FolderLakehouse, *, deep: bool) -> Iterator[Finding]:
    # Where user_features cannot be opened, that has been said.
    with suppress(DamagedError):
        yield from serving.online_features(lake, deep=deep)
    yield from serving.page(lake, deep=deep)
    yield from serving.copied_models(lake)


def _erasures(lake: FolderLakehouse) -> Iterator[Finding]:
    if unfinished(lake.settings):
        yield damaged(ERASURES, "one was interrupted, and no run begins before it is finished", FINISH)
    try:
        count = len(list(receipts(lake.settings)))
        lake.erased_users()
    except ChurnError as error:
        yield damaged(ERASURES, one_line(error, max_length=1000), "restore the file from a backup")
    else:
        if count:
            yield well(ERASURES, f"{count} receipts")


def _landing(lake: FolderLakehouse) -> Finding:
    try:
        listing = list_files(lake.settings.landing_root)
        ahead = ahead_of(lake, dt.datetime.now(dt.UTC))
    except LandingError as error:
        return damaged(LANDING, one_line(error), "bring it back; what was taken in stays in Bronze")
    except (ChurnError, OSError):
        # Bronze cannot be read, which is told with the tables.
        listing, ahead = list_files(lake.settings.landing_root), dt.timedelta()
    notes = LandingNotes.of(listing, ahead)
    # Timestamps that a wrong clock left ahead harm nothing, and stay until time has caught up: said only.
    if notes.left_out_count:
        return damaged(LANDING, " ".join(notes.lines()).rstrip("."), "mend or move these files")
    return well(LANDING, " ".join([f"{len(listing.files)} event files.", *notes.lines()]).rstrip("."))
