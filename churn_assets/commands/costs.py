"""``churn costs``: what Databricks billed for each asset and each run, beside what had been estimated."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable

from churn_assets.commands.current import current_settings
from churn_assets.commands.days import today
from churn_assets.console import out

if TYPE_CHECKING:
    from churn_assets.automation.runs.costs import Cost, Costs
    from churn_assets.settings import Settings

UTC_MINUTES = "%Y-%m-%d %H:%M"


def costs(
    days: Annotated[int, typer.Option(min=1, max=365, help="The last so many days, today among them.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what Databricks billed by asset and by run, and how much of it is nobody's."""
    settings = current_settings()
    if settings.deployment != "databricks":
        _no_bill(settings, as_json=as_json)
        return
    found = _costs(settings, days)
    if as_json:
        out.print_json(json.dumps({"days": days, "currency": "USD", **asdict(found)}, default=str))
        return
    _print(found, days)


def _costs(settings: "Settings", days: int) -> "Costs":
    from churn_assets import asset_paths
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.runs.costs import attribute, first_day, steps_on_databricks
    from churn_assets.databricks import billing
    from churn_assets.databricks.client import workspace_client
    from churn_assets.databricks.workflow.spec import JOB_NAME
    from churn_assets.serving.endpoint import ENDPOINT_NAME

    since = first_day(today(), days)
    with dagster_instance(settings) as instance:
        steps = steps_on_databricks(instance, since)
    ours = billing.Ours(ENDPOINT_NAME, JOB_NAME, tuple(sorted(step.job_run_id for step in steps)))
    bill = billing.usage(workspace_client(settings), settings, since, ours)
    return attribute(bill, steps, (ENDPOINT_NAME, ".".join(asset_paths.ENDPOINT)))


def _print(found: "Costs", days: int) -> None:
    if found.until is None:
        out.print(
            f"Nothing of this deployment is in the bill of the last {days} days. Usage comes up to 12 hours "
            "late; clusters are found by the tag project=churn-assets, serverless runs by Dagster's history."
        )
        return
    _print_table("asset", found.assets)
    _print_table("run", found.runs)
    _print_table("not attributed", found.not_attributed)
    lost = sum(cost.dbu for cost in found.not_attributed.values())
    share = f" ({lost / found.total.dbu:.0%})" if found.total.dbu else ""
    estimated = "none" if found.total.dbu_estimate is None else f"{found.total.dbu_estimate:,.2f} DBU"
    out.print(
        f"Billed in {days} days: {found.total.dbu:,.2f} DBU, {found.total.cost:,.2f} USD at list price; "
        f"estimates: {estimated}. {lost:,.2f} DBU{share} could not be attributed to an asset.",
        soft_wrap=True,
    )
    out.print(
        f"The bill goes to {found.until:{UTC_MINUTES}} UTC: usage comes up to 12 hours late.", soft_wrap=True
    )
    if found.unpriced:
        out.print(f"Without a list price, so in no cost: {', '.join(found.unpriced)}.", soft_wrap=True)


def _print_table(what: str, rows: "Mapping[str, Cost]") -> None:
    if not rows:
        return
    table = RichTable(what, box=None, pad_edge=False)
    for heading in ("DBU billed", "USD at list price", "DBU estimated"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cost in sorted(rows.items(), key=lambda item: -item[1].dbu):
        estimated = "" if cost.dbu_estimate is None else f"{cost.dbu_estimate:,.2f}"
        table.add_row(name, f"{cost.dbu:,.2f}", f"{cost.cost:,.2f}", estimated)
    out.print(table)
    out.print()


def _no_bill(settings: "Settings", *, as_json: bool) -> None:
    """Say so, and what the steps took instead, if there is a history."""
    from churn_assets.automation.history import stored_history

    took: list[Any] = []
    if stored_history.is_there(settings):
        from churn_assets.automation.history.instance import dagster_instance
        from churn_assets.automation.runs.past_runs import durations

        with dagster_instance(settings) as instance:
            took = durations(instance)
    if as_json:
        steps = [{"step": one.step, "runs": one.runs, "p50_seconds": one.p50} for one in took]
        out.print_json(json.dumps({"billed": None, "steps": steps}))
        return
    instead = "; what steps took: churn runs" if took else ""
    out.print(
        f"CHURN_DEPLOYMENT={settings.deployment} has no bill: it computes on this machine{instead}.",
        soft_wrap=True,
    )
