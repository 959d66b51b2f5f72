"""``churn repair``: what is to be done for each thing that may be damaged."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from churn_assets.automation.history.lake_lock import LakeLock
from churn_assets.automation.repair import bronze, models, silver
from churn_assets.errors import DamagedError
from churn_assets.lakehouse import damage, mending
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import online_folder, page_folder, state_folder
from churn_assets.serving.versions import POINTER
from churn_assets.tables import (
    ALL_TABLES,
    CHURN_PREDICTIONS,
    COMPUTED_DATES,
    CONTACT_TABLES,
    DATED,
    DELIVERIES,
    EVENTS,
    FOUND_FILES,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    QUARANTINED_TREATMENTS,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    Table,
)
from churn_assets.verification import databases, tables
from churn_assets.verification.findings import ONLINE_FEATURES, PAGE, Finding
from churn_assets.verification.verify import verify

Progress = Callable[[str], None]

COMMAND = "churn repair "
# What is published for the scoring server: where, and how it is spoken of.
PUBLISHED = {ONLINE_FEATURES: (online_folder, "them"), PAGE: (page_folder, "it")}
OTHERS = ("model", "mlflow", "dagster", *PUBLISHED, "endpoint")


def repair_all(lake: FolderLakehouse, progress: Progress) -> dict[str, str]:
    """Repair everything that is damaged, in the order of the graph: each by what it is made of.

    Returns:
        What was done, in a sentence, by the name of what was damaged.

    Raises:
        DamagedError: something is still damaged afterwards.
    """
    done: dict[str, str] = {}
    with LakeLock(lake.settings, None):
        # Mending one thing may show another: a table's files are looked at once its log can be read.
        while found := [finding for finding in verify(lake) if _name(finding) not in (None, *done)]:
            name = str(_name(found[0]))
            progress(name)
            done[name] = _repair(lake, name)
    if still := [finding for finding in verify(lake) if _name(finding) in done]:
        raise DamagedError(f"Still damaged: {still[0].line()}. Restore it from a backup.")
    return done


def repair(lake: FolderLakehouse, name: str) -> str:
    """Repair one thing, whatever ``churn verify`` says of it.

    Args:
        lake: the lake.
        name: a table's, with its schema where another has the same, or one of ``OTHERS``.

    Returns:
        What was done, in a sentence.
    """
    with LakeLock(lake.settings, None):
        return _repair(lake, name)


def table_named(lake: FolderLakehouse, name: str) -> Table:
    """Return the table of a name, with or without its schema and catalog.

    Raises:
        DamagedError: there is none, or there are several.
    """
    found = [
        table
        for table in ALL_TABLES
        if name in (table.name, f"{table.schema}.{table.name}", str(table), lake.table_name(table))
    ]
    if len(found) != 1:
        listed = ", ".join(tables.command_name(table) for table in found or ALL_TABLES)
        raise DamagedError(
            f"{len(found) or 'No'} tables are called {name}. Say one of: {listed}"
            + ("" if found else f", {', '.join(OTHERS)}")
        )
    return found[0]


def _name(finding: Finding) -> str | None:
    """Return what a finding's command repairs; None where another command mends it, or nothing is wrong."""
    return finding.mend.removeprefix(COMMAND) if finding.mend.startswith(COMMAND) else None


def _repair(lake: FolderLakehouse, name: str) -> str:
    match name:
        case "model":
            return models.repair(lake)
        case "mlflow":
            return _put_aside_registry(lake)
        case "dagster":
            return _put_aside_history(lake)
        case "endpoint":
            return _remove_copies(lake)
    if name in PUBLISHED:
        folder, says = PUBLISHED[name]
        # Nothing is published without it.
        (folder(lake.settings) / POINTER).unlink(missing_ok=True)
        return f"the next run publishes {says}"
    return _repair_table(lake, table_named(lake, name))


def _repair_table(lake: FolderLakehouse, table: Table) -> str:
    location = lake.location(table)
    if table is LANDED_EVENTS:
        return bronze.repair(lake)
    if table.keeps_past and not _is_damaged(lake, table):
        raise DamagedError(
            f"{lake.table_name(table)} is not damaged, and its past is history. To score dates again: "
            "churn backfill --from D --to D --predictions"
        )
    done = _mended_log(lake, table)
    if table in (COMPUTED_DATES, FOUND_FILES, DELIVERIES, *CONTACT_TABLES):
        done = done or [f"moved to {mending.put_aside(location).name}"]
        if table in (TREATMENTS, QUARANTINED_TREATMENTS):
            done.append("import the files of treatments again; what is there adds nothing")
        if table is DELIVERIES:
            # Made anew and empty, as no run makes it where there is nobody to hand lists to.
            lake.read(table)
            done.append("the newest list is handed over again, under the key that its receiver knows")
        if table is TREATMENT_OUTCOMES:
            done.append("the next run measures it")
        if table is COMPUTED_DATES:
            done.append("the next run computes all dates, and keeps past predictions")
        return "; ".join(done)
    days = silver.damaged_days(lake, table) if (location / "_delta_log").is_dir() else None
    if table in DATED:
        # Where the log alone was damaged, what that cost has been noted.
        return "; ".join([*done, *_not_computed(lake, table, days, all_dates=days is None or not done)])
    # As it was asked for, all of it, where no file is damaged. The lines of an ingestion are in Silver or in
    # its quarantine: which of them lacks some is not known.
    both = not days and table in (EVENTS, QUARANTINED_EVENTS)
    made = (QUARANTINED_EVENTS, EVENTS) if both else (table,)
    return "; ".join([*done, *(silver.repair(lake, one, days or None) for one in made)])


def _mended_log(lake: FolderLakehouse, table: Table) -> list[str]:
    """Mend a table's log, and say how; nothing where it is whole."""
    location = lake.location(table)
    if not (location / "_delta_log").is_dir() or not damage.log_damage(location):
        return []
    if table in DATED and (version := mending.drop_last_commit(location)) is not None:
        return [_after_the_last_commit(lake, table, version)]
    return [f"moved to {mending.put_aside(location).name}"]


def _not_computed(
    lake: FolderLakehouse, table: Table, days: Collection[dt.date] | None, *, all_dates: bool
) -> Iterator[str]:
    if days:
        mending.note_not_computed(lake, table, days)
        yield f"the next run computes {len(days)} dates"
    elif all_dates:
        yield _all_dates(lake, table)


def _is_damaged(lake: FolderLakehouse, table: Table) -> bool:
    found = tables.files(lake, table, deep=True)
    return found is None or not found.is_well


def _all_dates(lake: FolderLakehouse, table: Table) -> str:
    if table.keeps_past:
        mending.note_not_computed(lake, table, lake.ledger.read().dates(table))
    else:
        mending.note_unknown(lake, table)
    return "the next run computes all its dates"


def _after_the_last_commit(lake: FolderLakehouse, table: Table, version: int) -> str:
    """Note what a table without its last commit has lost: the dates that were written since."""
    noted = lake.ledger.read().dates(table)
    lost = {day for day, row in noted.items() if (row.delta_version or 0) > version}
    mending.note_as_before(lake, table)
    mending.note_not_computed(lake, table, lost)
    return f"back to version {version}; the next run computes {len(lost)} dates"


def _put_aside_registry(lake: FolderLakehouse) -> str:
    path = registry.database(lake.settings)
    if not isinstance(path, Path):
        raise DamagedError(
            f"MLflow's database is no file of this machine, but {path or 'of a server'}. Restore it there."
        )
    if not path.exists():
        raise DamagedError(f"There is no MLflow database {path}; the next churn run makes one.")
    aside = _put_aside_database(path)
    days = [day for day, rows in lake.partition_rows(CHURN_PREDICTIONS).items() if rows]
    # What is served must agree with the last scores, so these follow the model that the next run trains.
    mending.note_not_computed(lake, CHURN_PREDICTIONS, [max(days)] if days else [])
    return f"moved to {aside.name}; the next run trains a model, as version 1"


def _put_aside_history(lake: FolderLakehouse) -> str:
    found = list(databases.damaged_history(lake.settings, deep=True))
    if lake.settings.database and not found:
        raise DamagedError(
            f"Dagster's history is no file, but in {lake.settings.database}. Restore it there."
        )
    for path, _ in found:
        _put_aside_database(path)
    return f"{len(found)} files put aside, with what they knew of past runs; the next run makes them anew"


def _put_aside_database(path: Path) -> Path:
    for companion in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if companion.exists():
            mending.put_aside(companion)
    return mending.put_aside(path)


def _remove_copies(lake: FolderLakehouse) -> str:
    folder = state_folder(lake.settings)
    for path in (folder / "models", folder / "endpoint.json"):
        if path.exists():
            mending.put_aside(path)
    return "its copies of models were put aside; churn serve makes them anew"
