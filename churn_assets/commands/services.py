"""Long-running commands, and the check of this machine."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from churn_assets import terminal, ui_address
from churn_assets.commands.current import current_settings
from churn_assets.console import out


def serve() -> None:
    """Serve the Production model over HTTP at CHURN_ENDPOINT_URL, until stopped."""
    # Replaces this process: the workers start small, and signals reach the server.
    command = [sys.executable, "-m", "churn_assets.serving.server.main"]
    terminal.restore_stderr()
    os.execv(command[0], command)  # noqa: S606 - ourselves


def dev(
    port: Annotated[
        int, typer.Option(help="Where the UI listens, on this machine only.")
    ] = ui_address.DEFAULT_PORT,
) -> None:
    """Start Dagster's UI and daemon on this lake: ``dagster dev`` with its home beside the tables."""
    from churn_assets.automation.history.instance import prepare_dagster_home

    settings = current_settings()
    prepare_dagster_home(settings)
    # Links in alerts and of other commands lead there, unless CHURN_DAGSTER_URL says where people open it.
    ui_address.note(settings.dagster_home_folder, port)
    dagster = Path(sys.executable).with_name("dagster")
    location = (
        ["-w", "workspace.yaml"] if Path("workspace.yaml").exists() else ["-m", "churn_assets.definitions"]
    )
    command = [str(dagster), "dev", *location, "-h", "127.0.0.1", "-p", str(port)]
    # Replaces this process, so that Ctrl-C and signals reach Dagster itself.
    terminal.restore_stderr()
    os.execv(command[0], command)  # noqa: S606 - Dagster of this environment


def doctor() -> None:
    """Say what this machine lacks, and how to mend it."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.doctor import examine

    settings = current_settings()
    out.print(f"deployment {settings.deployment}, lake {settings.lake_root}", soft_wrap=True)
    problems = 0
    for finding in examine(lakehouse(settings)):
        mark = ("ok  ", "green") if finding.is_well else ("mend", "red")
        out.print(Text.assemble(mark, f" {finding.name}: {finding.says}"), soft_wrap=True)
        problems += not finding.is_well
    if problems:
        raise typer.Exit(1)
