"""``churn repair`` and ``churn restore``: make again what was lost, or put a table back."""

import datetime as dt
from typing import Annotated

import typer

from churn_assets import console
from churn_assets.commands.verify import folder_lake
from churn_assets.console import out
from churn_assets.errors import LakeError

NEXT = "Next: churn run"


def repair(
    name: Annotated[
        str,
        typer.Argument(metavar="[TABLE]", help="A table, or what churn verify says; all that is damaged."),
    ] = "",
) -> None:
    """Make again what is damaged, from what it was made of; damaged files are renamed and stay."""
    from churn_assets.automation.repair.repair import repair as repair_one
    from churn_assets.automation.repair.repair import repair_all

    lake = folder_lake("repaired")
    with console.steps() as step:
        if name:
            step(name)
            done = {name: repair_one(lake, name)}
        else:
            done = repair_all(lake, step)
    for what, says in done.items():
        out.print(f"{what}: {says}.", soft_wrap=True)
    out.print(NEXT if done else "Nothing to repair. To look at every row: churn verify --deep")


def restore(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A table, with its schema if need be.")],
    version: Annotated[int | None, typer.Option("--version", min=0, help="The Delta version.")] = None,
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="A time such as 2026-11-30T06:00Z; UTC without a zone."),
    ] = "",
) -> None:
    """Put a table back to an earlier version; the next run computes what follows from it."""
    from churn_assets.automation.history.lake_lock import LakeLock
    from churn_assets.automation.repair.repair import table_named
    from churn_assets.event_days import ranges
    from churn_assets.lakehouse import restoring
    from churn_assets.verification.tables import command_name

    if (version is None) == (not at):
        raise typer.BadParameter("give either --version or --at")
    when = _time(at) if at else None
    lake = folder_lake("restored")
    table = table_named(lake, name)
    if table not in restoring.RESTORABLE:
        listed = ", ".join(command_name(one) for one in restoring.RESTORABLE)
        raise LakeError(
            f"{lake.table_name(table)} is not put back alone, as others are made of the same lines or "
            f"models. These are: {listed}. If it is damaged: churn repair {command_name(table)}"
        )
    if lake.version(table) < 0:
        raise LakeError(f"{lake.table_name(table)} is not there. It is made by: churn run")
    with LakeLock(lake.settings, None):
        target = restoring.version_at(lake, table, when) if when else int(version or 0)
        restored = restoring.restore(lake, table, target)
    what = f"{len(restored.dates)} dates ({ranges(restored.dates)})" if restored.dates else "nothing"
    out.print(
        f"{lake.table_name(table)}: version {restored.target} is back, as version {restored.version}; other "
        f"than noted: {what}. What is stale by it is computed by: churn run",
        soft_wrap=True,
    )


def _time(text: str) -> dt.datetime:
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no time such as 2026-11-30T06:00Z") from error
    return when if when.tzinfo else when.replace(tzinfo=dt.UTC)
