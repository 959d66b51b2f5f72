"""``churn runs``: the latest runs, how long their steps took, and predictions that came late."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from churn_assets.commands.current import current_settings
from churn_assets.console import out

if TYPE_CHECKING:
    from churn_assets.automation.runs.past_runs import Duration, RunSummary, SlaMiss

UTC_MINUTES = "%Y-%m-%d %H:%M"


def runs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs.")] = 5,
) -> None:
    """Show the latest runs, seconds of each step, late predictions; exit 1 if the last run failed."""
    from churn_assets.automation.history import stored_history
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.runs import past_runs

    settings = current_settings()
    if not stored_history.is_there(settings):
        out.print(f"Nothing has run yet with its history in {settings.dagster_home_folder}. Run: churn run")
        return
    with dagster_instance(settings) as instance:
        latest = past_runs.latest_runs(instance, settings, limit)
        durations = past_runs.durations(instance)
        misses = past_runs.sla_misses(instance, settings, dt.datetime.now(dt.UTC))
    _print_runs(latest)
    _print_durations(durations)
    _print_misses(misses)
    ended = [run for run in latest if run.seconds is not None or run.has_failed]
    if ended and ended[0].has_failed:
        raise typer.Exit(1)


def _print_runs(latest: "list[RunSummary]") -> None:
    for run in latest:
        started = f"{run.started_at:{UTC_MINUTES}} UTC" if run.started_at else "not started"
        seconds = f"{run.seconds:.1f} s" if run.seconds is not None else "-"
        out.print(f"{run.state:<10} {started}  {seconds:>9}  {run.what}  {run.url}", soft_wrap=True)
        for reason in run.reasons if run.has_failed else ():
            out.print(f"ALERT: {reason} - {run.url}", soft_wrap=True, markup=False)


def _print_durations(durations: "list[Duration]") -> None:
    table = RichTable("step", box=None, pad_edge=False)
    for heading in ("runs", "p50 s", "p95 s"):
        table.add_column(heading, justify="right")
    for duration in durations:
        table.add_row(duration.step, str(duration.runs), f"{duration.p50:.2f}", f"{duration.p95:.2f}")
    if durations:
        out.print()
        out.print(table)


def _print_misses(misses: "list[SlaMiss]") -> None:
    out.print()
    if not misses:
        out.print("No predictions of the last 30 days came late.")
        return
    table = RichTable("feature_date", "due (UTC)", "made (UTC)", "late by", box=None, pad_edge=False)
    for miss in misses:
        made = f"{miss.made_at:{UTC_MINUTES}}" if miss.made_at else "not yet"
        late = str(miss.made_at - miss.due).partition(".")[0] if miss.made_at else ""
        table.add_row(str(miss.feature_date), f"{miss.due:{UTC_MINUTES}}", made, late)
    out.print(table)
