"""``churn migrate``: what this release changes in the tables of an earlier one, and their new columns."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.automation.staleness.migration import Change
    from churn_assets.contracts import Column
    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.settings import Settings


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:
    """Say what this release changes in the tables, and give them their new columns.

    Dates that are to be computed again are computed by churn run, which also adds the columns if they are
    missing: nothing has to be done by hand, and no folder moved. With CHURN_DATABASE_URL it also makes the
    tables there, and carries the lake's models over.
    """
    from churn_assets.automation.history import stored_history
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.staleness.migration import changes, grow
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.graph import build_defs

    settings = current_settings()
    lake = lakehouse(settings)
    if settings.database and (done := _prepare_database(settings, dry_run=dry_run)):
        out.print(f"{done[0].upper()}{done[1:]}.", soft_wrap=True, markup=False)
    if not stored_history.is_there(settings) and not _has_tables(lake):
        out.print(f"The lake {settings.lake_root} has no tables yet. Land events, then: churn run")
        return
    with console.steps() as step, dagster_instance(settings) as instance:
        step("tables and dates")
        changed = changes(lake, instance, build_defs(settings), dt.datetime.now(dt.UTC))
        if not dry_run:
            step("columns")
            grow(lake)
    for change in changed:
        out.print(_line(lake, change, gained=not dry_run), soft_wrap=True, markup=False)
    out.print(_what_next(changed, dry_run=dry_run), soft_wrap=True)


def _prepare_database(settings: "Settings", *, dry_run: bool) -> str | None:
    """Make what Dagster and MLflow keep in PostgreSQL, with the models of the lake's own file."""
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.history.lake_lock import LakeLock
    from churn_assets.model.registry.carrying_over import carry_over

    if dry_run:
        return carry_over(settings, dry_run=True)
    with console.steps() as step, dagster_instance(settings) as instance, LakeLock(settings, instance):
        step("database")
        return carry_over(settings)


def _has_tables(lake: "Lakehouse") -> bool:
    from churn_assets.tables import TABLES

    return any(lake.version(table) >= 0 for table in TABLES)


def _line(lake: "Lakehouse", change: "Change", *, gained: bool) -> str:
    phrases = []
    if change.is_new:
        phrases.append("is new")
    if change.columns:
        phrases.append(f"{'gained' if gained else 'gains'} {_columns(change.columns)}")
    for reason, dates in change.dates.items():
        days = f"{len(dates):,} dates" if len(dates) > 1 else "1 date"
        span = f"{dates[0]} to {dates[-1]}" if len(dates) > 1 else str(dates[0])
        phrases.append(f"{days} to compute, {span}: {reason}")
    if change.rewritten:
        phrases.append(f"to be made again: {change.rewritten}")
    return f"{lake.table_name(change.table)}: {'; '.join(phrases)}"


def _columns(columns: "Sequence[Column]") -> str:
    return ", ".join(f"{column.name} ({column.type})" for column in columns)


def _what_next(changed: "Sequence[Change]", *, dry_run: bool) -> str:
    if not changed:
        return "Nothing to do: all tables are as this release wants them."
    if not any(change.columns for change in changed):
        return "No table lacks a column. Compute what is to be computed: churn run"
    if dry_run:
        return "Nothing was changed. Columns: churn migrate. Columns and dates: churn run"
    return "Columns are there. Compute the dates: churn run"
