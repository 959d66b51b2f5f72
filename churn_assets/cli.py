"""The ``churn`` command: 0 done, 1 failed with a one-line reason, 2 wrong usage."""

import gc
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from churn_assets import bucket, plain_paths, terminal
from churn_assets.commands import (
    backfill,
    costs,
    demo,
    doctor,
    events,
    export,
    forget,
    imports,
    maintain,
    migrate,
    model,
    open_,
    repair,
    report,
    run,
    runs,
    services,
    status,
    verify,
    workspace,
)
from churn_assets.console import err, out
from churn_assets.errors import ChurnError, one_line, unreadable
from churn_assets.release import release

WRONG_USAGE = 2

app = typer.Typer(
    help="A churn platform: event files in, a churn probability for every active user out, every day.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
DEBUG = "--debug"


def _say_version(wanted: bool) -> None:
    if not wanted:
        return
    out.print(f"churn {release()}")
    raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show traces, and what engines say, on the terminal.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which release this is."),
    ] = False,
) -> None:
    pass


app.command()(demo.demo)
app.command()(events.simulate)
app.command("import")(imports.import_)
app.command()(run.run)
app.command()(export.export)
app.command()(report.report)
app.command()(status.status)
app.command()(backfill.backfill)
app.command()(runs.runs)
app.command()(costs.costs)
app.command()(model.rollback)
app.command()(model.reproduce)
app.command()(maintain.maintain)
app.command()(migrate.migrate)
app.command()(verify.verify)
app.command()(repair.repair)
app.command()(repair.restore)
app.command()(forget.forget)
app.command()(services.dev)
app.command()(services.serve)
app.command("open")(open_.open_)
app.command()(doctor.doctor)
app.command()(workspace.setup)
app.add_typer(workspace.workflow, name="workflow", help="The pipeline as a Databricks job.")


def main() -> None:
    """Run the command line: an error is one line on stderr, with its details in the lake's log."""
    # Imports create a million objects that stay; scanning them again and again takes a tenth of a run.
    gc.set_threshold(100_000, 50, 50)
    debug = _debug_comes_first()
    redirected = None if debug else terminal.redirect_stderr()
    if redirected:
        err.file = redirected.stream
    try:
        app()
    except SystemExit as ended:
        if redirected and ended.code == WRONG_USAGE:
            redirected.replay()
        raise
    except ChurnError as error:
        if redirected or debug:
            traceback.print_exception(error)
        _print_error(str(error))
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the end of the line, and of every error
        log = None
        if redirected or debug:
            traceback.print_exception(error)
        if redirected:
            log = redirected.append_to_log(_logs() or plain_paths.own_folder())
        kept = f" The trace is in {log}." if log else ""
        problem = bucket.in_words(error)
        foreseen = f"The lake's bucket {problem}" if problem else unreadable(error)
        said = foreseen or f"{type(error).__name__}: {one_line(error)}. Nobody has foreseen this"
        _print_error(f"{said}.{kept}")
        sys.exit(1)
    finally:
        # Without a word to keep, the settings need not be imported for it.
        if redirected and redirected.has_noise and (logs := _logs()):
            redirected.append_to_log(logs)


def _debug_comes_first() -> bool:
    """Move --debug in front of the command, where the app takes it: people add it at the end."""
    if DEBUG not in sys.argv:
        return False
    sys.argv = [sys.argv[0], DEBUG, *(argument for argument in sys.argv[1:] if argument != DEBUG)]
    return True


def _logs() -> Path | None:
    """Return the folder for logs, None if there is no lake: commands that only read create none."""
    from churn_assets import settings

    try:
        local = settings.load().local_root
    except ChurnError:
        return None
    return local / "logs" if local.is_dir() else None


def _print_error(message: str) -> None:
    err.print(Text.assemble(("churn:", "red"), " ", " ".join(message.splitlines())), soft_wrap=True)
