"""``churn maintain``: merge small files, write a checkpoint of each log, remove files that nothing needs."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.lakehouse.maintenance import MaintenanceReport
    from churn_assets.tables import Table

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
    """Tidy the tables up; what registered model versions were trained on stays, however old it is."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.lakehouse import maintenance
    from churn_assets.lakehouse.folder_lake import FolderLakehouse
    from churn_assets.tables import TABLES

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
    results: list[MaintenanceReport] = []
    with console.steps() as step:
        step("what registered versions need")
        needed = _needed(lake)
        step("tables")
        for table in TABLES:
            done = maintenance.maintain(
                lake, table, needed.get(table, set()), retention_hours, dry_run=dry_run
            )
            results += [done] if done else []
    _show(results, lake, dry_run=dry_run)


def _needed(lake: "Lakehouse") -> "dict[Table, set[int]]":
    from churn_assets.lakehouse.maintenance import needed_by_scores
    from churn_assets.model.reproduce import needed_delta_versions
    from churn_assets.tables import TABLES

    by_name = needed_delta_versions(lake.settings)
    needed = {table: set(by_name.get(str(table), ())) for table in TABLES}
    for table, versions in needed_by_scores(lake).items():
        needed[table] |= versions
    return needed


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
