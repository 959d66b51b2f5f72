"""The ``churn`` command: 0 done, 1 failed with a one-line reason, 2 wrong usage."""

import gc
import sys

import typer

from churn_assets.commands import backfill, events, graph, imports, maintain, model, runs, services, workspace
from churn_assets.console import err
from churn_assets.errors import ChurnError

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
app.command()(services.dev)
app.command()(services.serve)
app.command()(services.doctor)
app.command()(workspace.setup)
app.add_typer(workspace.workflow, name="workflow", help="The pipeline as a Databricks job.")


def main() -> None:
    """Run the command line; what a user can mend is one line on stderr."""
    # Imports make a million objects that stay; looking through them again and again costs a tenth of a run.
    gc.set_threshold(100_000, 50, 50)
    try:
        app()
    except ChurnError as error:
        err.print(f"[red]churn:[/red] {error}", markup=True, soft_wrap=True)
        sys.exit(1)
