"""What Dagster's daemon does with a sensor's tick, without its waiting: evaluate, start the runs, again."""

import datetime as dt

import dagster as dg

from churn_assets.automation.history.run_tags import RANGE_START_TAG
from churn_assets.automation.runs.runner import QUIET
from churn_assets.automation.triggers.stale_dates import decide
from churn_assets.lakehouse.computed_dates.checked_ledger import read_ledger
from churn_assets_tests.end_to_end.conftest import House


def until_current(house: House, now: dt.datetime) -> list[list[dg.RunRequest]]:
    """Tick until nothing is stale, and run what each tick asks for.

    Returns:
        The requests of each tick that had any.
    """
    waves: list[list[dg.RunRequest]] = []
    run_keys: set[str | None] = set()
    graph = house.definitions.resolve_asset_graph()
    while isinstance(
        result := decide(lambda: read_ledger(house.lake), house.instance, house.settings, now, graph),
        dg.SensorResult,
    ):
        # As the daemon does: a run key is good for one run.
        wave = [request for request in result.run_requests or [] if request.run_key not in run_keys]
        assert wave, f"the same runs are asked for again: {result.run_requests}"
        run_keys.update(request.run_key for request in wave)
        for request in wave:
            run(house, request)
        waves.append(wave)
    return waves


def run(house: House, request: dg.RunRequest) -> None:
    """One run, as its request says."""
    job = house.definitions.resolve_implicit_global_asset_job_def()
    assert request.asset_selection
    assert RANGE_START_TAG in request.tags
    job.execute_in_process(
        instance=house.instance,
        asset_selection=list(request.asset_selection),
        tags=dict(request.tags),
        run_config=QUIET,
    )


def ingest(house: House) -> None:
    """What the landing sensor's run does."""
    house.definitions.resolve_job_def("ingest_files").execute_in_process(
        instance=house.instance, run_config=QUIET
    )
