"""One maintenance of a lake in folders: its tables, its histories, and the files beside them.

Safe beside writers and readers: a table is tidied up under its lock, files that readers may have open stay
for the retention, and of histories only what has ended goes.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from churn_assets import bucket
from churn_assets.automation.maintenance import dagster_history, published_files
from churn_assets.lakehouse import maintenance
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.maintenance import MaintenanceReport
from churn_assets.model.registry import run_retention
from churn_assets.model.reproduce import needed_delta_versions
from churn_assets.tables import ASSET_TABLES, COMPUTED_DATES, TABLES, Table

Progress = Callable[[str], None]


@dataclass
class Maintained:
    """What was done, or would be: each table's report, and how many of everything else there were."""

    tables: list[MaintenanceReport] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def maintain(
    lake: FolderLakehouse,
    instance: dg.DagsterInstance | None,
    retention_hours: int,
    progress: Progress,
    *,
    dry_run: bool = False,
) -> Maintained:
    """Tidy everything up.

    Args:
        lake: the lake; ``CHURN_HISTORY_DAYS`` of its settings says how long histories stay.
        instance: Dagster's, None where there is no history.
        retention_hours: how long files stay that tables no longer use.
        progress: called with what comes next.
        dry_run: only count.
    """
    settings, done = lake.settings, Maintained()
    progress("what registered versions need")
    needed = _needed(lake)
    progress("tables")
    for table in ASSET_TABLES:
        report = maintenance.maintain(lake, table, needed.get(table, set()), retention_hours, dry_run=dry_run)
        done.tables += [report] if report else []
    progress("histories")
    now = dt.datetime.now(dt.UTC)
    before = now - dt.timedelta(days=settings.history_days)
    done.counts["MLflow runs of dead processes"] = run_retention.end_dead_runs(
        settings, lambda run_id: _is_over(instance, run_id), dry_run=dry_run
    )
    done.counts["old MLflow runs"] = run_retention.delete_old_runs(settings, before, dry_run=dry_run)
    if instance:
        done.counts["old Dagster runs"] = dagster_history.prune_runs(instance, before, dry_run=dry_run)
        if not dry_run:
            dagster_history.purge_ticks(instance, before)
    unread = now - dt.timedelta(hours=retention_hours)
    done.counts["files that nothing reads"] = published_files.prune(settings, unread, dry_run=dry_run)
    return done


def sizes(lake: FolderLakehouse) -> dict[str, int]:
    """Return the bytes of each table's folder, of Dagster's history and of MLflow's."""
    tables = (table for table in (*ASSET_TABLES, COMPUTED_DATES) if lake.location(table).exists())
    folders = {lake.table_name(table): lake.location(table) for table in tables}
    folders |= {"dagster": lake.settings.dagster_home_folder, "mlflow": lake.settings.mlflow_folder}
    return {name: _bytes(folder) for name, folder in folders.items()}


def _bytes(folder: Path) -> int:
    if bucket.is_bucket(folder):
        return sum(bucket.sizes(folder).values())
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _needed(lake: FolderLakehouse) -> dict[Table, set[int]]:
    by_name = needed_delta_versions(lake.settings)
    needed = {table: set(by_name.get(str(table), ())) for table in TABLES}
    for table, versions in maintenance.needed_by_scores(lake).items():
        needed[table] |= versions
    return needed


def _is_over(instance: dg.DagsterInstance | None, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id) if instance else None
    return run is None or run.is_finished
