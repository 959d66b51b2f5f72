"""``churn status``: how the tables, the model and the latest scores are."""

import datetime as dt
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out

if TYPE_CHECKING:
    from churn_assets.automation.staleness.expectations import Freshness
    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.lakehouse.landing_notes import LandingNotes


def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show each table's rows, dates, version, size and freshness, the model and the latest scores."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.status import lake_status

    settings = current_settings()
    lake = lakehouse(settings)
    freshness, last_notes = _history(lake)
    current = lake_status(lake, dt.datetime.now(dt.UTC), last_notes)
    if as_json:
        as_dict = {**current.as_dict(), "freshness": [asdict(asset) for asset in freshness]}
        out.print_json(json.dumps(as_dict, default=str))
        return
    if not current.tables:
        out.print(f"The lake {settings.lake_root} has no tables yet. Land events, then: churn run")
        console.print_landing(current)
        return
    console.print_tables(current)
    _print_freshness(freshness)
    console.print_landing(current)
    for line in current.days:
        out.print(line, soft_wrap=True)
    console.print_summary(current, settings)


def _history(lake: "Lakehouse") -> "tuple[list[Freshness], LandingNotes | None]":
    """Return the freshness that Dagster's UI shows, and the last ingestion's notes on the landing zone.

    Without a history there are none: reading the status must create nothing.
    """
    from churn_assets.automation.history import stored_history

    settings, now = lake.settings, dt.datetime.now(dt.UTC)
    if not stored_history.is_there(settings):
        return [], None
    from churn_assets.asset_paths import asset_path
    from churn_assets.automation.staleness.expectations import found_freshness
    from churn_assets.lakehouse.landing_notes import METADATA_NAME, LandingNotes
    from churn_assets.tables import LANDED_EVENTS

    try:
        stored = stored_history.stored_materializations(settings)
    except stored_history.UnknownHistoryError:
        return _history_by_dagster(lake, now)
    landed = stored.get(asset_path(LANDED_EVENTS))
    notes = landed.json_metadata.get(METADATA_NAME, {}) if landed else {}
    written = {path: one.written_at for path, one in stored.items()}
    return found_freshness(lake, written, now), LandingNotes(**notes)


def _history_by_dagster(lake: "Lakehouse", now: dt.datetime) -> "tuple[list[Freshness], LandingNotes]":
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.history.landing_history import last_notes
    from churn_assets.automation.staleness.freshness import freshness

    with dagster_instance(lake.settings) as instance:
        return freshness(lake, instance, now), last_notes(instance)


def _print_freshness(assets: "list[Freshness]") -> None:
    """Print the number of fresh assets, and a line for each other one."""
    others = [asset for asset in assets if asset.state != "fresh"]
    if assets:
        out.print(f"{len(assets) - len(others)} of {len(assets)} assets are fresh.")
    for asset in others:
        out.print(f"  {asset.state}: {asset.asset}: {asset.says}", soft_wrap=True)
