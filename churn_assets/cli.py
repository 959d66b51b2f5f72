"""The ``churn`` command: 0 done, 1 failed with a one-line reason, 2 wrong usage."""

import gc
import sys
import traceback
from pathlib import Path

import typer
from rich.text import Text

from churn_assets import plain_paths, settings, terminal
from churn_assets.commands import (
    backfill,
    events,
    graph,
    imports,
    maintain,
    migrate,
    model,
    runs,
    services,
    workspace,
)
from churn_assets.console import err
from churn_assets.errors import ChurnError, one_line

WRONG_USAGE = 2

app = typer.Typer(
    help="A churn platform: event files in, a churn probability for every active user out, every day.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(events.simulate)
app.command("import")(imports.import_)
app.command()(graph.run)
app.command()(graph.status)
app.command()(backfill.backfill)
app.command()(runs.runs)
app.command()(model.rollback)
app.command()(model.reproduce)
app.command()(maintain.maintain)
app.command()(migrate.migrate)
app.command()(services.dev)
app.command()(services.serve)
app.command()(services.doctor)
app.command()(workspace.setup)
app.add_typer(workspace.workflow, name="workflow", help="The pipeline as a Databricks job.")


def main() -> None:
    """Run the command line; what went wrong is one line on stderr, its details are in the lake's log."""
    # Imports make a million objects that stay; looking through them again and again costs a tenth of a run.
    gc.set_threshold(100_000, 50, 50)
    people = terminal.turn_away()
    if people:
        err.file = people.stream
    try:
        app()
    except SystemExit as ended:
        if people and ended.code == WRONG_USAGE:
            people.show()
        raise
    except ChurnError as error:
        if people:
            traceback.print_exception(error)
        _say(str(error))
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the end of the line, and of every error
        log = None
        if people:
            traceback.print_exception(error)
            log = people.keep(_logs() or plain_paths.own_folder())
        kept = f" The trace is in {log}." if log else ""
        _say(f"{type(error).__name__}: {one_line(error)}. Nobody has foreseen this.{kept}")
        sys.exit(1)
    finally:
        if people and (logs := _logs()):
            people.keep(logs)


def _logs() -> Path | None:
    """The lake's folder for logs; None where there is no lake, as looking leaves no trace."""
    try:
        lake = settings.load().lake_root
    except ChurnError:
        return None
    return lake / "logs" if lake.is_dir() else None


def _say(what: str) -> None:
    err.print(Text.assemble(("churn:", "red"), " ", " ".join(what.splitlines())), soft_wrap=True)
