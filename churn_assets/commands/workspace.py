"""``churn setup`` and ``churn workflow``: what a Databricks workspace needs, and the job that runs there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out
from churn_assets.errors import SettingsError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

    from churn_assets.settings import Settings

workflow = typer.Typer(no_args_is_help=True)

WORKSPACE_ONLY = (
    "This is for CHURN_DEPLOYMENT=databricks, and it is {deployment}. Set it, and DATABRICKS_HOST."
)


def setup(
    databricks: Annotated[
        bool, typer.Option("--databricks", help="Catalogs, schemas, volume, tables and grants.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL, run nothing.")] = False,
    monitoring: Annotated[
        bool,
        typer.Option("--monitoring", help="Quality monitors and the inference table as well."),
    ] = False,
) -> None:
    """Create in Unity Catalog what the deployment databricks needs; local and spark need nothing."""
    from churn_assets.databricks import billing
    from churn_assets.databricks.catalog import setup as unity
    from churn_assets.databricks.catalog.model_owner import what_is_done
    from churn_assets.databricks.client import workspace_client

    settings = current_settings()
    if not databricks:
        out.print("Nothing to set up for local and spark. For a workspace: churn setup --databricks")
        return
    if dry_run:
        # Not through rich, which would break lines and interpret brackets.
        typer.echo(unity.render(unity.plan(settings)))
        if last := what_is_done(settings):
            typer.echo(f"\n-- and by the API: {last}")
        for grant in billing.grants(settings):
            typer.echo(f"\n-- for churn costs, by an account admin who is metastore admin too\n{grant.sql};")
        return
    client = workspace_client(settings)
    with console.steps() as step:
        done = unity.apply(client, settings, step)
        notes = [billing.grant(client, settings)]
    if monitoring:
        notes += _monitor(client, settings)
    for note in filter(None, notes):
        out.print(note, soft_wrap=True)
    out.print(f"Ran {len(done)} statements; all may run again. See what is missing: churn doctor")


def _monitor(client: "WorkspaceClient", settings: "Settings") -> list[str]:
    """Make monitors and the inference table; return what was not to be had."""
    from churn_assets.databricks.catalog import monitors
    from churn_assets.serving.endpoint import ENDPOINT_NAME
    from churn_assets.serving.rollout.clients import WorkspaceEndpoint
    from churn_assets.serving.rollout.deploy import annotate

    with console.steps() as step:
        notes = monitors.set_up(client, settings, step)
        step(f"inference table of {ENDPOINT_NAME}")
        endpoint = WorkspaceEndpoint(settings, lambda: client)
        refused = annotate(client, endpoint.target("", ""))
    if refused is None:
        notes.append(f"{ENDPOINT_NAME} is not there yet: it gets its inference table when it is deployed.")
    return [*notes, *(refused or ())]


@workflow.command()
def create(
    paused: Annotated[bool, typer.Option("--paused", help="Leave the schedule switched off.")] = False,
) -> None:
    """Create the job churn-prediction-pipeline, or make the one that is there what it should be."""
    from churn_assets.databricks.client import workspace_client
    from churn_assets.databricks.workflow import daily_job as job

    settings = _workspace_settings()
    job_id = job.create(workspace_client(settings), settings, paused=paused)
    out.print(f"Job {job_id} is as it should be. Run it: churn workflow run")


@workflow.command()
def run(
    wait: Annotated[bool, typer.Option(help="Until it has ended.")] = True,
) -> None:
    """Start the job now; exit code 1 if it fails."""
    from churn_assets.databricks.client import workspace_client
    from churn_assets.databricks.workflow import daily_job as job
    from churn_assets.databricks.workflow.status import exit_code, report

    settings = _workspace_settings()
    ended = job.run(workspace_client(settings), settings, wait=wait, progress=typer.echo)
    typer.echo("\n".join(report([ended])))
    raise typer.Exit(exit_code([ended]))


@workflow.command()
def status(
    limit: Annotated[int, typer.Option(min=1, max=25, help="How many runs.")] = 5,
) -> None:
    """Show the job's last runs, an ALERT line for each that failed; exit code 1 if the latest did."""
    from churn_assets.databricks.client import workspace_client
    from churn_assets.databricks.workflow import daily_job as job
    from churn_assets.databricks.workflow.status import exit_code, report

    runs = job.status(workspace_client(_workspace_settings()), limit)
    typer.echo("\n".join(report(runs)) if runs else "The job has not run yet: churn workflow run")
    raise typer.Exit(exit_code(runs))


@workflow.command()
def delete() -> None:
    """Delete the job and its wheels; tables and models stay."""
    from churn_assets.databricks.client import workspace_client
    from churn_assets.databricks.workflow import daily_job as job

    settings = _workspace_settings()
    job_id = job.delete(workspace_client(settings), settings)
    out.print(f"Job {job_id} is deleted." if job_id else "There was no such job.")


@workflow.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where databricks.yml and the wheel go.")],
    paused: Annotated[bool, typer.Option("--paused", help="Leave the schedule switched off.")] = False,
) -> None:
    """Write the job as a Declarative Automation Bundle, for databricks bundle deploy."""
    from churn_assets.databricks.client import workspace_client
    from churn_assets.databricks.compute.secret_scope import scope_keys
    from churn_assets.databricks.workflow import bundle

    settings = _workspace_settings()
    scoped = settings.databricks_secret_scope
    keys = scope_keys(workspace_client(settings), settings) if scoped else frozenset[str]()
    folder.mkdir(parents=True, exist_ok=True)
    out.print(f"Wrote {bundle.export(settings, folder, keys, paused=paused)}.", soft_wrap=True)


def _workspace_settings() -> "Settings":
    settings = current_settings()
    if settings.deployment != "databricks":
        raise SettingsError(WORKSPACE_ONLY.format(deployment=settings.deployment))
    return settings
