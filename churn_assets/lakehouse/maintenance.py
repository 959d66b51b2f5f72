"""Housekeeping of tables in folders: small files put together, a checkpoint, and the unneeded past removed.

Nothing here may look like new data. What was trained on keeps its versions, and the log that knows them.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError

from churn_assets.lakehouse import ddl
from churn_assets.lakehouse.commits import live_files
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import CHURN_PREDICTIONS, TABLES, USER_FEATURES, Table, WriteMode

# A date's files are put together from so many on, if they are as small as that on average. Each ingestion
# leaves a file a date in Bronze and Silver; what is replaced as a whole has one or two and needs nothing.
MANY_FILES = 8
SMALL_BYTES = 16_000_000
GROWING = (WriteMode.APPEND, WriteMode.MERGE_NEW)

# deltalake's own clean-up after a commit would go by the log's retention as it was before that commit.
NO_CLEAN_UP = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True)
class Maintained:
    """What was done to a table, or would be: files put together, files and bytes removed.

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
) -> Maintained | None:
    """Put one table in order, with nobody writing it meanwhile.

    Args:
        lake: where the tables are.
        table: the contract.
        needed: Delta versions whose files must stay, however old they are.
        retention_hours: any other file that the table no longer uses goes after so many hours.
        dry_run: only say what would be done.

    Returns:
        None where the table is not there or nobody has written it.
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
    return Maintained(table, merged, len(removed), freed, tuple(kept), tuple(lost))


def needed_by_scores(lake: Lakehouse) -> dict[Table, set[int]]:
    """The version of user_features that the last scores were made of: the endpoint is compared with those."""
    days = [day for day, rows in lake.partition_rows(CHURN_PREDICTIONS).items() if rows]
    if not days or lake.version(USER_FEATURES) < 0:
        return {}
    scored_at = lake.sample_rows(CHURN_PREDICTIONS, max(days), 1)[0]["scored_at"]
    return {USER_FEATURES: {lake.version_at(USER_FEATURES, scored_at)}}


def statements(lake: Lakehouse, retention_hours: int) -> Iterator[str]:
    """The SQL that does the same to managed tables of Unity Catalog.

    There VACUUM keeps no single versions: the tables that models are trained on keep all of the past for as
    long as their properties say.
    """
    for table in TABLES:
        name = lake.table_name(table)
        yield f"OPTIMIZE {name}"
        if table in ddl.TRAINED_ON:
            yield f"ALTER TABLE {name} SET TBLPROPERTIES ({ddl.properties_list(ddl.MANAGED_PAST_KEPT)})"
            yield f"VACUUM {name}"
        else:
            yield f"VACUUM {name} RETAIN {retention_hours} HOURS"


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
    """For tables from before ``ddl.LOG_KEPT``."""
    delta = DeltaTable(location)
    configured = delta.metadata().configuration
    if not ddl.LOG_KEPT.items() <= configured.items():
        delta.alter.set_table_properties(ddl.LOG_KEPT, post_commithook_properties=NO_CLEAN_UP)


def _readable(location: Path, versions: Collection[int]) -> tuple[list[int], list[int]]:
    """Which versions the log still knows, and which it does not."""
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
    # Not deltalake's own removal: it makes two commits, and a new version of a table is new data to whatever
    # compares versions. In full, because the log forgets after a week which files it has let go of.
    listed = delta.vacuum(
        retention_hours, dry_run=True, enforce_retention_duration=False, full=True, keep_versions=kept
    )
    for path in listed:
        file = location / path
        # It also lists what an earlier clean-up has removed, and every checksum that Apache Spark puts beside
        # a file, whether that file is in use or not.
        if file.is_file() and not file.name.startswith("."):
            yield file


def _remove(files: Collection[Path]) -> None:
    for file in files:
        file.unlink()
        (file.parent / f".{file.name}.crc").unlink(missing_ok=True)


def _checkpoint(delta: DeltaTable, location: Path) -> None:
    """So that nobody reads the log's commits one by one."""
    if not list((location / "_delta_log").glob(f"{delta.version():020}.checkpoint*.parquet")):
        delta.create_checkpoint()
