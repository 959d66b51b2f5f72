"""Events for the landing zone: simulated, or from one's own log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets import settings as settings_module
from churn_assets.commands.days import Day, today
from churn_assets.console import out
from churn_assets.dates import ONE_DAY
from churn_assets.errors import DateRangeError, SettingsError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from churn_assets.sample.importer import ImportReport

SAMPLE_DAYS = 180


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
    last = settings.end_date or today() - ONE_DAY
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
    start = today() - SAMPLE_DAYS * ONE_DAY
    env = Path(".env")
    try:
        before = env.read_text() if env.exists() else ""
        if before and not before.endswith("\n"):
            before += "\n"
        env.write_text(f"{before}CHURN_START_DATE={start}\n")
    except OSError as error:
        raise SettingsError(f"Cannot write .env: {error.strerror}. Set CHURN_START_DATE={start}.") from error
    return settings_module.load()
