"""``churn export``: whom to contact, as a file for people and programs that know nothing of the lake."""

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from churn_assets.commands.current import current_settings
from churn_assets.commands.output import write_output
from churn_assets.console import err

Format = Literal["csv", "parquet", "json"]
Group = Literal["contact", "control", "all"]


def export(  # noqa: PLR0913, PLR0917 - one parameter an option
    at_risk: Annotated[
        bool, typer.Option("--at-risk", help="Whom to contact, those first of whom it gains most.")
    ] = False,
    date: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Its feature_date; without it, the last that has a list."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="No more users than so many.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="Of the output.")] = "csv",
    output: Annotated[Path | None, typer.Option(help="A file; without it, stdout.")] = None,
    group: Annotated[
        Group, typer.Option(help="Users to contact, the control group that is not, or both.")
    ] = "contact",
) -> None:
    """Export whom to contact after a feature_date; without --date, after the last one that has a list."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.retention.formats import formatted
    from churn_assets.retention.lists import last_list, require_list, rows_of_list

    if not at_risk:
        raise typer.BadParameter("say what to export: --at-risk", param_hint="churn export")
    if output is None and format_ == "parquet" and sys.stdout.isatty():
        raise typer.BadParameter(
            "Parquet is nothing for a terminal: give --output FILE", param_hint="--format"
        )
    lake = lakehouse(current_settings()).read_only()
    day = date.date() if date else last_list(lake)
    require_list(lake, day)
    rows = rows_of_list(lake, day, group)[:top]
    content = formatted(rows, format_)
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        write_output(output, content)
    users = f"{len(rows):,} {'user' if len(rows) == 1 else 'users'}"
    to = f" in {output}" if output else ""
    what = {"contact": "to contact", "control": "of the control group", "all": "of both groups"}[group]
    err.print(f"{users} {what} after {day}{to}.", soft_wrap=True)
