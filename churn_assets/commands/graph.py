"""The graph: bring it up to date, and say how it is."""

import datetime as dt
import importlib
import json
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets import settings as settings_module
from churn_assets.commands.days import today
from churn_assets.console import out
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import DateRangeError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from churn_assets.automation.staleness.freshness import Freshness
    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.lakehouse.landing_notes import LandingNotes


def run(
    from_: Annotated[
        dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First feature_date.")
    ] = None,
    to: Annotated[
        dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last feature_date.")
    ] = None,
) -> None:
    """Compute everything that is new, landing zone to scores."""
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.runs.pipeline import Pipeline
    from churn_assets.graph import build_defs
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
        out.print(note, soft_wrap=True, markup=False)
    console.print_summary(lake_status(lake), settings)


def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show each table's rows, dates, version, size and freshness, the model and the latest scores."""
    from churn_assets.resources import lakehouse
    from churn_assets.status import lake_status

    settings = settings_module.load()
    lake = lakehouse(settings)
    fresh, last = _history(lake)
    found = lake_status(lake, dt.datetime.now(dt.UTC), last)
    if as_json:
        as_dict = {**found.as_dict(), "freshness": [asdict(one) for one in fresh]}
        out.print_json(json.dumps(as_dict, default=str))
        return
    if not found.tables:
        out.print(f"The lake {settings.lake_root} has no tables yet. Land events, then: churn run")
        console.print_landing(found)
        return
    console.print_tables(found)
    _print_freshness(fresh)
    console.print_landing(found)
    for line in found.days:
        out.print(line, soft_wrap=True)
    console.print_summary(found, settings)


def _history(lake: "Lakehouse") -> "tuple[list[Freshness], LandingNotes | None]":
    """Freshness as Dagster's UI has it, and what the last ingestion said of the landing zone.

    Nothing where there is no history, as looking must leave no trace.
    """
    if not (lake.settings.dagster_home_folder / "dagster.yaml").exists():
        return [], None
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.history.landing_history import last_notes
    from churn_assets.automation.staleness.freshness import freshness

    with dagster_instance(lake.settings) as instance:
        return freshness(lake, instance, dt.datetime.now(dt.UTC)), last_notes(instance)


def _print_freshness(found: "list[Freshness]") -> None:
    """How many are fresh, and a line for each that is not."""
    others = [one for one in found if one.state != "fresh"]
    if found:
        out.print(f"{len(found) - len(others)} of {len(found)} assets are fresh.")
    for one in others:
        out.print(f"  {one.state}: {one.asset}: {one.says}", soft_wrap=True)


def _import_what_models_need() -> None:
    """Three seconds of imports, while the engine is busy with the events."""
    for name in ("mlflow.pyfunc", "sklearn.ensemble"):
        importlib.import_module(name)


def _wanted(settings: Settings, from_: dt.datetime | None, to: dt.datetime | None) -> DateRange | None:
    if from_ is None and to is None:
        return None
    start = from_.date() if from_ else settings.start_date
    end = to.date() if to else settings.end_date or today() - ONE_DAY
    if end < start:
        raise DateRangeError(f"--to {end} is before --from {start}. Swap them.")
    return DateRange(start, end)
