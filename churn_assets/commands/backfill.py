"""``churn backfill``: bring a range of feature_dates up to date, or estimate what that would take."""

import datetime as dt
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out
from churn_assets.dates import DateRange
from churn_assets.errors import DateRangeError

if TYPE_CHECKING:
    from churn_assets.automation.runs.backfill import BackfillPlan


def backfill(
    from_: Annotated[dt.datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First feature_date.")],
    to: Annotated[dt.datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last feature_date.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is stale and why.")] = False,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Score all of these dates again; else the past stays.")
    ] = False,
    lists: Annotated[
        bool,
        typer.Option("--lists", help="Make missing lists of past dates, too; they count as contacts."),
    ] = False,
) -> None:
    """Compute the stale dates of a range: missing, behind what they read, or made by other code."""
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.runs.backfill import describe
    from churn_assets.automation.runs.pipeline import Pipeline
    from churn_assets.automation.staleness.plan import Plan
    from churn_assets.automation.staleness.planning import code_versions, make_plan
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.graph import build_defs

    settings = current_settings()
    wanted = DateRange(from_.date(), to.date())
    if wanted.end < wanted.start:
        raise DateRangeError(f"--to {wanted.end} is before --from {wanted.start}. Swap them.")
    lake, definitions = lakehouse(settings), build_defs(settings)
    started = time.monotonic()
    with dagster_instance(settings) as instance:

        def plan() -> Plan:
            return make_plan(
                lake,
                dt.datetime.now(dt.UTC),
                wanted,
                code_versions=code_versions(definitions.resolve_asset_graph()),
                scores_again=predictions,
                lists=lists,
            )

        if dry_run:
            _print(describe(plan(), lake, instance), wanted)
            return
        lake.require_writable()
        with console.steps() as step:
            report = Pipeline(definitions, lake, instance, step).backfill(wanted, plan)
    done = ", ".join(f"{days} of {name.split('.')[-1]}" for name, days in report.computed.items())
    seconds = time.monotonic() - started
    out.print(f"Done in {seconds:.1f} s, {len(report.runs)} runs. Dates: {done or 'none was stale'}.")
    for note in report.notes:
        out.print(note)


def _print(backfill_plan: "BackfillPlan", wanted: DateRange) -> None:
    if not backfill_plan.runs:
        out.print(f"Nothing of {wanted} is stale.")
        return
    table = RichTable("run", "dates", "why", box=None, pad_edge=False)
    for heading in ("dates", "rows now", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in backfill_plan.runs:
        days = len(list(run.dates.days()))
        seconds = "?" if run.seconds is None else f"{run.seconds:,.1f}"
        table.add_row(", ".join(run.tables), str(run.dates), run.why, str(days), f"{run.rows_now:,}", seconds)
    out.print(table)
    for name, reasons in backfill_plan.stale.items():
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        out.print(f"{name}: {sum(reasons.values())} stale dates ({counts})")
    total = backfill_plan.seconds
    estimate = f"about {total:,.0f} s" if total is not None else "no run of the past tells how long"
    cost = "" if backfill_plan.dbu is None else f", {backfill_plan.dbu:,.2f} DBU"
    out.print(
        f"{len(backfill_plan.runs)} runs, {estimate}{cost} (from {backfill_plan.past_runs} runs of the past)."
    )
