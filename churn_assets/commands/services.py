"""The commands that run until they are stopped: ``churn serve`` and ``churn dev``."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from churn_assets import terminal, ui_address
from churn_assets.commands.current import current_settings


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
    # What Dagster warns of is for who writes a graph: that this command has a successor, that a part is beta.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    # Replaces this process, so that Ctrl-C and signals reach Dagster itself.
    terminal.restore_stderr()
    os.execv(command[0], command)  # noqa: S606 - Dagster of this environment
