"""``churn simulate``: land simulated events."""

import datetime as dt
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.commands.days import today
from churn_assets.console import out
from churn_assets.dates import ONE_DAY
from churn_assets.errors import DateRangeError, LandingError, SettingsError

if TYPE_CHECKING:
    from churn_assets.sample.behaviour import RateChange
    from churn_assets.settings import Settings

SAMPLE_DAYS = 180


def simulate(  # noqa: PLR0913, PLR0917 - one parameter an option
    users: Annotated[int, typer.Option(min=1, help="How many users.")] = 2000,
    days: Annotated[
        int | None, typer.Option(min=1, help="How many days; without it, up to yesterday.")
    ] = None,
    start: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day; without it, CHURN_START_DATE."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    late_share: Annotated[float, typer.Option(min=0, max=1, help="Share of events 1 to 5 days late.")] = 0.02,
    duplicate_share: Annotated[float, typer.Option(min=0, max=1, help="Share delivered twice.")] = 0.01,
    corrupt_share: Annotated[float, typer.Option(min=0, max=1, help="Share that arrives broken.")] = 0.002,
    rates_from: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="From this day on everybody visits more or less often …"),
    ] = None,
    rates_factor: Annotated[
        float | None, typer.Option(min=0, help="… by this factor: 0.5 halves the visits, to see drift.")
    ] = None,
    sample: Annotated[
        bool,
        typer.Option(
            "--sample",
            help="For the demo: start 180 days back, note it in .env; nothing if events have landed.",
        ),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Then land what the users do now, a small file at a time, until Ctrl-C."
        ),
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between the files of --follow.")] = 5.0,
) -> None:
    """Land simulated events: one file a day, some late, some twice, some broken."""
    from churn_assets.sample.simulator import simulate as land

    settings = current_settings()
    rates = _rate_change(rates_from, rates_factor)
    live = Live(users, seed, late_share, duplicate_share, corrupt_share, rates, every)
    if follow and _has_landed(settings):
        _follow(settings, live)
        return
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
            rates=rates,
            progress=advance,
        )
    out.print(
        f"Landed {report.lines:,} lines of {report.users:,} users in {report.files} files, "
        f"{report.first_day} to {report.last_day}: {report.late:,} late, {report.duplicates:,} twice, "
        f"{report.corrupt.total():,} broken."
    )
    out.print(f"Who truly churned is in {report.truth_file}, which the pipeline never reads.")
    if follow:
        _follow(settings, live)


class Live(NamedTuple):
    """The options that --follow shares with the rest of the command."""

    users: int
    seed: int
    late_share: float
    duplicate_share: float
    corrupt_share: float
    rates: "RateChange | None"
    every: float


def _rate_change(date: dt.datetime | None, factor: float | None) -> "RateChange | None":
    from churn_assets.sample.behaviour import RateChange

    if (date is None) != (factor is None):
        raise SettingsError(
            "--rates-from and --rates-factor say together when visits change: give both or none."
        )
    return None if date is None or factor is None else RateChange(date.date(), factor)


def _follow(settings: "Settings", live: Live) -> None:
    """Land a file every few seconds until Ctrl-C or SIGTERM, which end it with success."""
    from churn_assets.sample.follow import follow, simulated_days

    sample = simulated_days(settings.landing_root)
    if sample is None:
        raise LandingError(
            f"No simulated day has landed in {settings.landing_root}, so there are no users to follow. "
            "Use an empty landing zone (CHURN_LANDING_ROOT)."
        )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    files = lines = late = 0
    out.print(f"A file every {live.every:g} s in {settings.landing_root}; Ctrl-C ends it.", soft_wrap=True)
    shares = {name: getattr(live, name) for name in ("late_share", "duplicate_share", "corrupt_share")}
    for landed in follow(
        settings.landing_root,
        sample,
        users=live.users,
        seed=live.seed,
        rates=live.rates,
        clock=lambda: dt.datetime.now(dt.UTC),
        **shares,
    ):
        files, lines, late = files + 1, lines + landed.lines, late + landed.late
        console.err.print(f"  {landed.name}: {landed.lines} lines, {landed.late} late", soft_wrap=True)
        if stop.wait(live.every):
            break
    out.print(f"Landed {lines:,} lines in {files} files, {late:,} of them late.")


def _has_landed(settings: "Settings") -> bool:
    from churn_assets.lakehouse.landing import list_files

    try:
        return bool(list_files(settings.landing_root).files)
    except LandingError:
        return False


def _with_sample_start(settings: "Settings") -> "Settings":
    """Return settings that start 180 days ago, and write that start to .env for every later command."""
    if "start_date" in settings.model_fields_set:
        return settings
    start = today() - SAMPLE_DAYS * ONE_DAY
    env = Path(".env")
    try:
        before = env.read_text() if env.exists() else ""
        if before and not before.endswith("\n"):
            before += "\n"
        # Replaced as a whole, and behind a link if it is one: half a file would be other settings.
        target = env.resolve()
        draft = target.with_name(f".{target.name}-{os.getpid()}")
        draft.write_text(f"{before}CHURN_START_DATE={start}\n")
        if target.exists():
            draft.chmod(target.stat().st_mode)
        draft.replace(target)
    except OSError as error:
        raise SettingsError(f"Cannot write .env: {error.strerror}. Set CHURN_START_DATE={start}.") from error
    out.print(f"Wrote CHURN_START_DATE={start}, {SAMPLE_DAYS} days back, to .env of this folder.")
    return current_settings()
