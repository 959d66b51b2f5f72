"""The ``churn`` command: 0 done, 1 failed with a one-line reason, 2 wrong usage."""

import datetime as dt
import gc
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets import settings as settings_module
from churn_assets.console import err, out
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import ChurnError, DateRangeError, SettingsError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from churn_assets.sample.importer import ImportReport

app = typer.Typer(
    help="A churn platform: event files in, a churn probability for every active user out, every day.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

SAMPLE_DAYS = 180
Day = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def main() -> None:
    """Run the command line; what a user can mend is one line on stderr."""
    # Imports make a million objects that stay; looking through them again and again costs a tenth of a run.
    gc.set_threshold(100_000, 50, 50)
    try:
        app()
    except ChurnError as error:
        err.print(f"[red]churn:[/red] {error}", markup=True, soft_wrap=True)
        sys.exit(1)


@app.command()
def simulate(  # noqa: PLR0913, PLR0917 - one parameter an option
    users: Annotated[int, typer.Option(min=1, help="How many users.")] = 2000,
    days: Annotated[
        int | None, typer.Option(min=1, help="How many days; without it, up to yesterday.")
    ] = None,
    start: Day = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    late_share: Annotated[float, typer.Option(min=0, max=1, help="Share of events 1 to 5 days late.")] = 0.02,
    duplicate_share: Annotated[float, typer.Option(min=0, max=1, help="Share delivered twice.")] = 0.01,
    corrupt_share: Annotated[float, typer.Option(min=0, max=1, help="Share that arrives broken.")] = 0.002,
    sample: Annotated[
        bool,
        typer.Option(
            "--sample",
            help="For the demo: start 180 days back, note it in .env; nothing if events have landed.",
        ),
    ] = False,
) -> None:
    """Land simulated events: one file a day, some late, some twice, some broken."""
    from churn_assets.sample.simulator import simulate as land

    settings = settings_module.load()
    if sample:
        if _has_landed(settings):
            out.print(f"Events have landed in {settings.landing_root} already; simulating none.")
            return
        settings = _with_sample_start(settings)
    first = start.date() if start else settings.start_date
    last = settings.end_date or _today() - ONE_DAY
    count = days or (last - first).days + 1
    if count < 1:
        raise DateRangeError(f"There is no day from {first} to {last}. Give an earlier --start, or --days.")
    with console.progress_bar("simulating") as advance:
        report = land(
            settings.landing_root,
            settings.lake_root / "sample" / "truth.csv",
            users=users,
            days=count,
            start=first,
            seed=seed,
            late_share=late_share,
            duplicate_share=duplicate_share,
            corrupt_share=corrupt_share,
            progress=advance,
        )
    out.print(
        f"Landed {report.lines:,} lines of {report.users:,} users in {report.files} files, "
        f"{report.first_day} to {report.last_day}: {report.late:,} late, {report.duplicates:,} twice, "
        f"{report.corrupt.total():,} broken."
    )
    out.print(f"Who truly churned is in {report.truth_file}, which the pipeline never reads.")


@app.command("import")
def import_(  # noqa: PLR0913, PLR0917 - one parameter an option
    files: Annotated[list[Path], typer.Argument(help="CSV, Parquet or JSON lines; .gz too.")],
    user_id: Annotated[str, typer.Option(help="Column, or SQL in parentheses: an integer id.")],
    event_ts: Annotated[str, typer.Option(help="Column, or SQL in parentheses: when it happened, UTC.")],
    event_id: Annotated[
        str | None,
        typer.Option(help="Column or columns, comma-separated; without it, file name and line number."),
    ] = None,
    event_type: Annotated[str | None, typer.Option(help="Column, =VALUE, or SQL in parentheses.")] = None,
    country: Annotated[str | None, typer.Option(help="Column, =VALUE, or SQL in parentheses.")] = None,
    hash_user_id: Annotated[
        bool, typer.Option("--hash-user-id", help="For ids that are not integers.")
    ] = False,
) -> None:
    """Bring your own event log into the landing zone; a file that is imported twice adds nothing."""
    from churn_assets.resources import lakehouse
    from churn_assets.sample.importer import import_files

    settings = settings_module.load()
    lake = lakehouse(settings)
    with console.progress_bar("importing") as advance:
        report = import_files(
            files,
            settings.landing_root,
            lambda: lake.spark,
            user_id=user_id,
            event_ts=event_ts,
            event_id=event_id,
            event_type=event_type,
            country=country,
            hash_user_id=hash_user_id,
            progress=advance,
        )
    out.print(
        f"Landed {report.rows:,} rows of {report.files} files in {settings.landing_root}; "
        f"{report.already_landed} files had landed before. {_to_be_quarantined(report)}"
    )


@app.command()
def run(
    from_: Annotated[
        dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First feature_date.")
    ] = None,
    to: Annotated[
        dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last feature_date.")
    ] = None,
) -> None:
    """Compute everything that is new, landing zone to scores."""
    from churn_assets.automation.instance import dagster_instance
    from churn_assets.automation.pipeline import Pipeline
    from churn_assets.definitions import build_defs
    from churn_assets.resources import lakehouse
    from churn_assets.status import lake_status

    settings = settings_module.load()
    wanted = _wanted(settings, from_, to)
    lake = lakehouse(settings)
    lake.require_writable()
    started = time.monotonic()
    threading.Thread(target=_import_what_models_need, daemon=True).start()
    with console.steps() as step, dagster_instance(settings) as instance:
        report = Pipeline(build_defs(settings), lake, instance, step).run(dt.datetime.now(dt.UTC), wanted)
    out.print(f"Done in {time.monotonic() - started:.1f} s; data covers {report.covered}.")
    for note in report.notes:
        out.print(note)
    console.print_summary(lake_status(lake), settings)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show each table's rows, dates, version, size and last change, the model and the latest scores."""
    from churn_assets.resources import lakehouse
    from churn_assets.status import lake_status

    settings = settings_module.load()
    found = lake_status(lakehouse(settings))
    if as_json:
        out.print_json(json.dumps(found.as_dict(), default=str))
        return
    if not found.tables:
        out.print(f"The lake {settings.lake_root} has no tables yet. Land events, then: churn run")
        return
    console.print_tables(found)
    console.print_summary(found, settings)


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Where the UI listens, on this machine only.")] = 3000,
) -> None:
    """Start Dagster's UI and daemon on this lake: ``dagster dev`` with its home beside the tables."""
    from churn_assets.automation.instance import prepare_dagster_home

    prepare_dagster_home(settings_module.load())
    dagster = Path(sys.executable).with_name("dagster")
    location = (
        ["-w", "workspace.yaml"] if Path("workspace.yaml").exists() else ["-m", "churn_assets.definitions"]
    )
    command = [str(dagster), "dev", *location, "-h", "127.0.0.1", "-p", str(port)]
    # In place of this process, so that Ctrl-C and signals reach Dagster itself.
    os.execv(command[0], command)  # noqa: S606 - Dagster of this environment


@app.command()
def doctor() -> None:
    """Say what this machine lacks, and how to mend it."""
    from churn_assets.doctor import examine
    from churn_assets.resources import lakehouse

    settings = settings_module.load()
    out.print(f"deployment {settings.deployment}, lake {settings.lake_root}", soft_wrap=True)
    ill = 0
    for finding in examine(lakehouse(settings)):
        mark = "[green]ok  [/green]" if finding.is_well else "[red]mend[/red]"
        out.print(f"{mark} {finding.name}: {finding.says}", soft_wrap=True)
        ill += not finding.is_well
    if ill:
        raise typer.Exit(1)


def _import_what_models_need() -> None:
    """Three seconds of imports, while the engine is busy with the events."""
    for name in ("mlflow.pyfunc", "sklearn.ensemble"):
        importlib.import_module(name)


def _to_be_quarantined(report: "ImportReport") -> str:
    missing = {
        "event_id": report.without_event_id,
        "user_id": report.without_user_id,
        "usable event_ts": report.without_event_ts,
    }
    found = ", ".join(f"{count:,} without {name}" for name, count in missing.items() if count)
    return (
        f"They will be quarantined where they lack something: {found}." if found else "None lacks anything."
    )


def _wanted(settings: Settings, from_: dt.datetime | None, to: dt.datetime | None) -> DateRange | None:
    if from_ is None and to is None:
        return None
    start = from_.date() if from_ else settings.start_date
    end = to.date() if to else settings.end_date or _today() - ONE_DAY
    if end < start:
        raise DateRangeError(f"--to {end} is before --from {start}. Swap them.")
    return DateRange(start, end)


def _has_landed(settings: Settings) -> bool:
    from churn_assets.errors import LandingError
    from churn_assets.lakehouse.landing import list_files

    try:
        return bool(list_files(settings.landing_root).files)
    except LandingError:
        return False


def _with_sample_start(settings: Settings) -> Settings:
    """Sample data is alive: it starts 180 days back, and .env says so to every later command."""
    if "start_date" in settings.model_fields_set:
        return settings
    start = _today() - SAMPLE_DAYS * ONE_DAY
    env = Path(".env")
    try:
        before = env.read_text() if env.exists() else ""
        if before and not before.endswith("\n"):
            before += "\n"
        env.write_text(f"{before}CHURN_START_DATE={start}\n")
    except OSError as error:
        raise SettingsError(f"Cannot write .env: {error.strerror}. Set CHURN_START_DATE={start}.") from error
    return settings_module.load()


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
