"""Maintenance of tables in folders: small files merged, a checkpoint, and unneeded past files removed.

Nothing here may look like new data. Versions that a model was trained on stay, with the log that knows them.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError

from churn_assets.errors import SettingsError
from churn_assets.lakehouse import ddl
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.opened import live_files
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES, Table, WriteMode

# A date's files are merged once there are so many, if they are as small as that on average. Each ingestion
# leaves a file for each date in Bronze and Silver; replaced dates have one or two files and need no merge.
MANY_FILES = 4
SMALL_BYTES = 16_000_000
GROWING = (WriteMode.APPEND, WriteMode.MERGE_NEW)

# How long files stay that a table no longer uses: nobody reads one version for longer.
WEEK_HOURS = 168

# deltalake's own clean-up after a commit would go by the log retention from before that commit.
NO_CLEAN_UP = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True)
class MaintenanceReport:
    """What was done to a table, or would be: files merged, files and bytes removed.

    ``kept_versions`` are past versions whose files stay; ``lost_versions`` should stay and cannot be read.
    """

    table: Table
    merged_files: int
    removed_files: int
    removed_bytes: int
    kept_versions: tuple[int, ...]
    lost_versions: tuple[int, ...]


def maintain(
    lake: FolderLakehouse,
    table: Table,
    needed: Collection[int],
    retention_hours: int,
    *,
    dry_run: bool = False,
) -> MaintenanceReport | None:
    """Tidy one table up, under its lock.

    Args:
        lake: where the tables are.
        table: the contract.
        needed: Delta versions whose files must stay, however old they are.
        retention_hours: how long other files stay that the table no longer uses.
        dry_run: only report what would be done.

    Returns:
        None where the table does not exist or was never written.
    """
    if lake.version(table) < 1:
        return None
    location = lake.location(table)
    with lake.lock(table):
        merged = _compact(table, location, dry_run=dry_run)
        if table in ddl.TRAINED_ON and not dry_run:
            _keep_log(location)
        delta = DeltaTable(location)
        kept, lost = _readable(location, {version for version in needed if version != delta.version()})
        removed = list(_unneeded(delta, location, kept, retention_hours))
        freed = sum(file.stat().st_size for file in removed)
        if not dry_run:
            _remove(removed)
            _checkpoint(delta, location)
    return MaintenanceReport(table, merged, len(removed), freed, tuple(kept), tuple(lost))


def needed_by_scores(lake: Lakehouse) -> dict[Table, set[int]]:
    """Return the version of user_features behind the last scores, which the endpoint is compared with."""
    days = [day for day, rows in lake.partition_rows(CHURN_PREDICTIONS).items() if rows]
    if not days or lake.version(USER_FEATURES) < 0:
        return {}
    scored_at = lake.sample_rows(CHURN_PREDICTIONS, max(days), 1)[0]["scored_at"]
    return {USER_FEATURES: {lake.version_at(USER_FEATURES, scored_at)}}


def statements(lake: Lakehouse, retention_hours: int) -> Iterator[str]:
    """Return the SQL that does the same to managed tables of Unity Catalog.

    VACUUM cannot keep single versions there: tables that models are trained on keep their whole past for as
    long as their properties say. So do the others: from Delta 4.1 on (Runtime 18, SQL warehouses) VACUUM
    ignores its RETAIN ("Vacuum with retention threshold other than 0 hours is ignored").

    Raises:
        SettingsError: files would go that a write is still compared with.
    """
    if retention_hours < WEEK_HOURS:
        raise SettingsError(
            f"--retention-hours {retention_hours} is less than the week that tables in Unity Catalog have to "
            f"keep, as each write is compared with what was there before. Use {WEEK_HOURS} or more."
        )
    for table in ddl.managed_tables(lake.settings):
        name = lake.table_name(table)
        kept = ddl.MANAGED_PAST_KEPT if table in ddl.TRAINED_ON else ddl.past_kept(retention_hours)
        yield f"OPTIMIZE {name}"
        yield f"ALTER TABLE {name} SET TBLPROPERTIES ({ddl.properties_list(kept)})"
        yield f"VACUUM {name}"


def _compact(table: Table, location: Path, *, dry_run: bool) -> int:
    if table.write_mode not in GROWING:
        return 0
    delta = DeltaTable(location)
    column = table.partition_column
    files: Counter[Any] = Counter()
    sizes: Counter[Any] = Counter()
    live = live_files(delta)
    days = live[f"partition.{column}"].to_pylist() if column else [None] * live.num_rows
    for day, size in zip(days, live["size_bytes"].to_pylist(), strict=True):
        files[day] += 1
        sizes[day] += size
    many = [day for day, n in files.items() if n >= MANY_FILES and sizes[day] < n * SMALL_BYTES]
    if many and not dry_run:
        wanted = [(column, "in", sorted(map(str, many)))] if column else None
        delta.optimize.compact(partition_filters=wanted, post_commithook_properties=NO_CLEAN_UP)
    return sum(files[day] for day in many)


def _keep_log(location: Path) -> None:
    """Set ``ddl.LOG_KEPT`` on tables of earlier releases."""
    delta = DeltaTable(location)
    configured = delta.metadata().configuration
    if not ddl.LOG_KEPT.items() <= configured.items():
        delta.alter.set_table_properties(ddl.LOG_KEPT, post_commithook_properties=NO_CLEAN_UP)


def _readable(location: Path, versions: Collection[int]) -> tuple[list[int], list[int]]:
    """Return the versions that the log still knows, and those that it does not."""
    kept, lost = [], []
    for version in sorted(versions):
        try:
            DeltaTable(location, version=version)
        except DeltaError:
            lost.append(version)
        else:
            kept.append(version)
    return kept, lost


def _unneeded(delta: DeltaTable, location: Path, kept: list[int], retention_hours: int) -> Iterator[Path]:
    # Not deltalake's own removal: it makes two commits, and a new version of a table looks like new data. In
    # full, because after a week the log no longer knows which files it has dropped.
    listed = delta.vacuum(
        retention_hours, dry_run=True, enforce_retention_duration=False, full=True, keep_versions=kept
    )
    for path in listed:
        file = location / path
        # The list also has files that an earlier clean-up removed, and every checksum that Apache Spark puts
        # beside a file, used or not.
        if file.is_file() and not file.name.startswith("."):
            yield file


def _remove(files: Collection[Path]) -> None:
    for file in files:
        file.unlink()
        (file.parent / f".{file.name}.crc").unlink(missing_ok=True)


def _checkpoint(delta: DeltaTable, location: Path) -> None:
    """Write a checkpoint, which saves readers the log's single commits."""
    if not list((location / "_delta_log").glob(f"{delta.version():020}.checkpoint*.parquet")):
        delta.create_checkpoint()
