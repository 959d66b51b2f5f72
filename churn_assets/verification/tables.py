"""Tables: logs, files, contracts and keys, whether all lines are accounted for, and the ledger of dates."""

from collections.abc import Collection, Iterator

from deltalake.exceptions import DeltaError
from pyspark.errors import PySparkException

from churn_assets.errors import ChurnError, DamagedError, one_line
from churn_assets.event_days import ranges
from churn_assets.lakehouse import damage, mending
from churn_assets.lakehouse.computed_dates.checked_ledger import read_ledger
from churn_assets.lakehouse.conservation import Account, account
from churn_assets.lakehouse.file_ledger import require_ledger
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.opened import opened_existing
from churn_assets.tables import (
    ALL_TABLES,
    COMPUTED_DATES,
    DATED,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    TABLES,
    Table,
)
from churn_assets.transforms import conformance
from churn_assets.verification.findings import Finding, damaged, dependents, well

OTHER_COLUMNS = "its columns are not the contract's"

# Where a table lost the rows of some dates, so many bad files are named.
FILES_SHOWN = 1


def files(lake: FolderLakehouse, table: Table, *, deep: bool = False) -> Finding | None:
    """Look at a table's log and at the files that it lists; None where there is no table.

    Args:
        lake: where it is.
        table: the contract.
        deep: read every row of every file.
    """
    location, name = lake.location(table), lake.table_name(table)
    if not (location / "_delta_log").is_dir():
        if table is QUARANTINED_EVENTS and (lake.location(EVENTS) / "_delta_log").is_dir():
            return damaged(name, "it is missing, and Silver is there", repair(table))
        return None
    if says := damage.log_damage(location):
        return damaged(name, f"its log is damaged: {says}", repair(table), _dependents(table))
    on_disk = opened_existing(location)
    bad = damage.damaged_files(on_disk, location, deep=deep)
    if bad:
        shown = "; ".join(f"{file.path} {file.says}" for file in bad[:FILES_SHOWN])
        says = f"{len(bad)} of {len(on_disk.file_uris())} files are damaged ({shown})"
        return damaged(name, says, _mend(lake, table, bad), _dependents(table))
    return well(name, f"version {on_disk.version()}, {len(on_disk.file_uris())} files as its log says")


def contract(lake: FolderLakehouse, table: Table) -> Finding | None:
    """Compare a table's columns with its contract; None where they agree."""
    try:
        lake.require_contract(table)
    except ChurnError as error:
        return damaged(lake.table_name(table), OTHER_COLUMNS, str(error))
    return None


def rows(lake: FolderLakehouse, table: Table) -> Finding | None:
    """Compare a table's rows with its contract, by the engine; None where they keep it."""
    read = lake.read_only().read(table)
    try:
        counted = conformance.violations(table, read, None).collect()[0].asDict()
        broken = {rule: n for rule, n in conformance.by_rule(table, counted).items() if n}
        if table.key and (repeated := conformance.repeated_keys(table, read)):
            broken[f"({', '.join(table.key)}) occurs twice"] = repeated
    except PySparkException as error:
        return damaged(
            lake.table_name(table), f"cannot be read: {one_line(error)}", repair(table), _dependents(table)
        )
    if not broken:
        return None
    says = "; ".join(f"{rule}: {n:,} rows" for rule, n in broken.items())
    return damaged(
        lake.table_name(table), f"rows break the contract: {says}", repair(table), _dependents(table)
    )


def conservation(lake: FolderLakehouse, *, deep: bool = False) -> Finding:
    """Compare the lines of Bronze with Silver, its quarantine and exact duplicates.

    Args:
        lake: whose three tables can be read.
        deep: account for every line; else only count, by the logs.
    """
    subject = "rows in = rows out"
    try:
        require_ledger(lake.read_only())
    except ChurnError as error:
        return damaged(
            subject, one_line(error, max_length=1000), repair(LANDED_EVENTS), dependents(LANDED_EVENTS)
        )
    found = account(lake.read_only()) if deep else _counted(lake)
    if found.unaccounted == 0 and found.exact_duplicates >= 0:
        return well(subject, _in_words(found))
    says = f"{_in_words(found)}: {abs(found.unaccounted):,} lines are "
    if found.unaccounted > 0:
        return damaged(subject, f"{says}in neither", repair(EVENTS), dependents(EVENTS))
    return damaged(
        subject, f"{says}there that Bronze has not", repair(LANDED_EVENTS), dependents(LANDED_EVENTS)
    )


def ledger(lake: FolderLakehouse) -> Iterator[Finding]:
    """Compare the tables with their last notes: the next run computes what is not as it was noted."""
    checked = read_ledger(lake)
    for table, by_date in checked.untrusted.items():
        dates = f"{len(by_date)} dates" if by_date else "its rows"
        yield damaged(
            lake.table_name(table),
            "is not as the ledger of dates left it, as after a writer that died or a change by hand: "
            f"{dates} count as not computed",
            "churn run",
            dependents(table),
        )
    for table in TABLES:
        noted = checked.dates(table).values()
        if open_dates := [row.computed_date for row in noted if row.is_open and row.computed_date]:
            says = f"{len(open_dates)} dates are not finished ({ranges(open_dates)})"
            yield damaged(lake.table_name(table), says, "churn run", dependents(table))
    yield well("ledger of dates", f"{checked.rows.last_note} notes")


def repair(table: Table) -> str:
    """Return the command that mends a table."""
    return f"churn repair {command_name(table)}"


def command_name(table: Table) -> str:
    """Return a table's name for commands: short where only one table has it."""
    is_alone = [other.name for other in ALL_TABLES].count(table.name) == 1
    return table.name if is_alone else f"{table.schema}.{table.name}"


def _mend(lake: FolderLakehouse, table: Table, bad: Collection[damage.DamagedFile]) -> str:
    """Return what mends a table's files: where their dates are noted as not computed, the next run."""
    if table in DATED:
        days = mending.days_of(lake, table, {file.path for file in bad})
        try:
            noted = lake.ledger.read().dates(table)
        except (DamagedError, DeltaError, OSError):
            noted = {}
        if all(day in noted and noted[day].is_open for day in days):
            return "churn run"
    return repair(table)


def _dependents(table: Table) -> tuple[str, ...]:
    return ("what churn run computes",) if table is COMPUTED_DATES else dependents(table)


def _counted(lake: FolderLakehouse) -> Account:
    landed, events, quarantined = (
        sum(lake.partition_rows(table).values()) for table in (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS)
    )
    # Whatever is neither may be a duplicate; only more than landed is certainly wrong.
    return Account(landed, events, max(landed - quarantined, 0), {"all": quarantined})


def _in_words(found: Account) -> str:
    return (
        f"{found.landed:,} lines landed, {found.events:,} are events, {sum(found.quarantined.values()):,} in "
        f"quarantine, {found.exact_duplicates:,} duplicates"
    )
