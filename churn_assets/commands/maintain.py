"""``churn maintain``: merge small files, write checkpoints, remove files and histories that nothing needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.lakehouse.maintenance import MaintenanceReport

WEEK_HOURS = 168


def maintain(
    retention_hours: Annotated[
        int,
        typer.Option(
            "--retention-hours",
            min=0,
            help="Keep files that tables no longer use for so long, for their readers.",
        ),
    ] = WEEK_HOURS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Tidy tables and histories up; what registered versions were trained on stays, however old it is."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.lakehouse import maintenance
    from churn_assets.lakehouse.folder_lake import FolderLakehouse

    lake = lakehouse(current_settings())
    if not isinstance(lake, FolderLakehouse):
        for statement in maintenance.statements(lake, retention_hours):
            out.print(f"{statement};", markup=False, soft_wrap=True)
        console.err.print(
            "Nothing was done: run these on a SQL warehouse, or leave all but the ALTER TABLEs to "
            "predictive optimisation. VACUUM goes by the tables' delta.deletedFileRetentionDuration and "
            "knows no models: versions older than that can no longer be reproduced.",
            soft_wrap=True,
        )
        return
    from churn_assets.automation.maintenance.maintain import maintain as tidy_up

    with console.steps() as step, _history(lake) as instance:
        done = tidy_up(lake, instance, retention_hours, step, dry_run=dry_run)
    _show(done.tables, lake, dry_run=dry_run)
    counted = ", ".join(f"{count} {name}" for name, count in done.counts.items() if count)
    if counted:
        out.print(f"{'Would remove or end' if dry_run else 'Removed or ended'}: {counted}.", soft_wrap=True)


@contextmanager
def _history(lake: "Lakehouse") -> "Iterator[DagsterInstance | None]":
    """Open Dagster's history where there is one; none is made for this."""
    from churn_assets.automation.history import stored_history
    from churn_assets.automation.history.instance import dagster_instance

    if not stored_history.is_there(lake.settings):
        yield None
        return
    with dagster_instance(lake.settings) as instance:
        yield instance


def _show(results: "list[MaintenanceReport]", lake: "Lakehouse", *, dry_run: bool) -> None:
    shown = RichTable("table", box=None, pad_edge=False)
    for heading in ("files merged", "files removed", "freed", "versions kept"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        shown.add_row(
            lake.table_name(result.table),
            str(result.merged_files),
            str(result.removed_files),
            f"{result.removed_bytes / 1e6:,.1f} MB",
            str(len(result.kept_versions)),
        )
    out.print(shown)
    freed = sum(result.removed_bytes for result in results) / 1e6
    out.print(f"{'Would free' if dry_run else 'Freed'} {freed:,.1f} MB.")
    for result in results:
        if result.lost_versions:
            out.print(
                f"{lake.table_name(result.table)} no longer knows Delta versions "
                f"{', '.join(map(str, result.lost_versions))}, which model versions were trained on: "
                "these can no longer be reproduced.",
                soft_wrap=True,
            )
