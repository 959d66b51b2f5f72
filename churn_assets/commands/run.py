"""``churn run``: bring the whole graph up to date."""

import datetime as dt
import importlib
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.commands.days import today
from churn_assets.console import out
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import DateRangeError

if TYPE_CHECKING:
    from churn_assets.settings import Settings


def run(
    from_: Annotated[
        dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First feature_date.")
    ] = None,
    to: Annotated[
        dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last feature_date.")
    ] = None,
) -> None:
    """Compute everything that is new, landing zone to scores."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.status import lake_status

    settings = current_settings()
    compute(settings, _wanted_dates(settings, from_, to))
    console.print_summary(lake_status(lakehouse(settings)), settings)


def compute(settings: "Settings", wanted: DateRange | None = None) -> None:
    """Run the graph where something is new, and print how long it took and what it has to say.

    Args:
        settings: of the lake.
        wanted: feature_dates to compute; all that the data covers, without it.

    Raises:
        ChurnError: in one line, what stopped it.
    """
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.runs.pipeline import Pipeline
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.graph import build_defs
    from churn_assets.lakehouse import other_accounts

    lake = lakehouse(settings)
    lake.require_writable()
    if not lake.is_remote:
        from churn_assets.serving.rollout.address import require_ours

        # The last step needs it, minutes later.
        require_ours(settings)
    started = time.monotonic()
    ahead = threading.Thread(target=_import_model_packages, daemon=True)
    with console.steps() as step, dagster_instance(settings) as instance:
        pipeline = Pipeline(build_defs(settings), lake, instance, step, before_first=ahead.start)
        report = pipeline.run(dt.datetime.now(dt.UTC), wanted)
    out.print(f"Done in {time.monotonic() - started:.1f} s; data covers {report.covered}.")
    for note in report.notes:
        out.print(note, soft_wrap=True, markup=False)
    if settings.deployment == "local" and (line := other_accounts.first_warning(settings.local_root)):
        console.err.print(f"churn: {line}", soft_wrap=True)


def _import_model_packages() -> None:
    """Import packages that take three seconds while the engine is busy with the events."""
    for name in ("mlflow.pyfunc", "sklearn.ensemble"):
        importlib.import_module(name)


def _wanted_dates(
    settings: "Settings", from_: dt.datetime | None, to: dt.datetime | None
) -> DateRange | None:
    if from_ is None and to is None:
        return None
    start = from_.date() if from_ else settings.start_date
    end = to.date() if to else settings.end_date or today() - ONE_DAY
    if end < start:
        raise DateRangeError(f"--to {end} is before --from {start}. Swap them.")
    return DateRange(start, end)
