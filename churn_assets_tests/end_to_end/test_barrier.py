"""A failed blocking check is a barrier whoever asks, in the same run or later, and opens once it passes.

Two dates of features fail, one in the middle and the last, which is due for its scores every day; then one of
labels. There is a Production model, so that what waits are scores, too. The tests follow one another.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator

import dagster as dg
import pytest
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.run_tags import RANGE_END_TAG, RANGE_START_TAG
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.runs.runner import QUIET, RunFailedError, Runner
from churn_assets.automation.runs.task_pipeline import TaskPipeline
from churn_assets.automation.staleness.planning import make_plan
from churn_assets.automation.triggers.schedules import PIPELINE_NAME
from churn_assets.automation.triggers.stale_dates import decide
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import BlockedError
from churn_assets.lakehouse.computed_dates.checked_ledger import read_ledger
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    PREDICTION_OUTCOMES,
    USER_FEATURES,
    Table,
)
from churn_assets.transforms import features, labels
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, NOW, House, score_with_a_constant

DAYS, HORIZON = 8, 2
WHOLE = DateRange(FIRST_DAY, FIRST_DAY + (DAYS - 1) * ONE_DAY)
LABELLED = DateRange(FIRST_DAY, WHOLE.end - HORIZON * ONE_DAY)
MIDDLE = FIRST_DAY + 2 * ONE_DAY

# Which dates of each table break its contract, and the transform that gives them.
BROKEN = {USER_FEATURES: (MIDDLE, WHOLE.end), CHURN_LABELS: (MIDDLE,)}
TRANSFORMS = {USER_FEATURES: (features, "user_features"), CHURN_LABELS: (labels, "churn_labels")}

# What is computed from it by date.
READERS = {USER_FEATURES: (CHURN_LABELS, CHURN_PREDICTIONS), CHURN_LABELS: (PREDICTION_OUTCOMES,)}
# The dates of these in the end.
HAVE = {CHURN_LABELS: LABELLED, CHURN_PREDICTIONS: WHOLE, PREDICTION_OUTCOMES: LABELLED}

Broken = tuple[House, Table]


@pytest.fixture(scope="module")
def house(
    make_house: Callable[..., House], tmp_path_factory: pytest.TempPathFactory, deployment: str
) -> Iterator[House]:
    """A lake with a Production model, and events that nobody has taken in. Nothing is served."""
    if deployment == "spark":
        pytest.skip("who asks the ledger is the same on either engine, and its runs take minutes here")
    house = make_house(tmp_path_factory.mktemp("barrier"), horizon_days=HORIZON)
    house.landing.mkdir(parents=True)
    lines = [
        json.dumps({"event_id": f"{user}-{day}", "user_id": user, "event_ts": f"{day}T12:00:00Z"})
        for user in (1, 2)
        for day in WHOLE.days()
    ]
    (house.landing / "events.json").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        score_with_a_constant(house.settings, patch)
        patch.setattr(Pipeline, "_serve", lambda *_: None)
        yield house


@pytest.fixture(scope="module", params=BROKEN, ids=lambda table: table.name)
def broken(request: pytest.FixtureRequest, house: House) -> Broken:
    """The lake after a run in which dates of features, or of labels, failed their checks."""
    table: Table = request.param
    scored = house.lake.partition_rows(CHURN_PREDICTIONS)
    module, name = TRANSFORMS[table]
    good = getattr(module, name)

    def with_keys_twice(*arguments, **more):
        found = good(*arguments, **more)
        twice = found.where((F.col("user_id") == 1) & F.col("feature_date").isin(*BROKEN[table]))
        return found.unionByName(twice)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, with_keys_twice)
        with pytest.raises(RunFailedError, match="unique_key"):
            house.run()
    # Nothing that would have come after it in that run.
    assert house.lake.partition_rows(CHURN_PREDICTIONS) == scored
    assert trainings(house) == 0
    return house, table


def trainings(house: House) -> int:
    return len(house.instance.fetch_materializations(CHURN_PREDICTION_MODEL, limit=10).records)


def computed_from_it(house: House, table: Table) -> set[tuple[str, dt.date]]:
    """Where rows are that were computed from the dates that failed."""
    return {
        (reader.name, day)
        for reader in READERS[table]
        for day in BROKEN[table]
        if house.lake.partition_rows(reader).get(day)
    }


def asked_for(house: House) -> set[tuple[str, dt.date]]:
    """The tables and dates of the runs that the sensor would start."""
    found = decide(lambda: read_ledger(house.lake), house.instance, house.settings, NOW)
    requests = found.run_requests or [] if isinstance(found, dg.SensorResult) else []
    return {
        (key.path[-1], day)
        for request in requests
        for key in request.asset_selection or []
        for day in days_of(request).days()
    }


def waiting(table: Table) -> set[tuple[str, dt.date]]:
    """What the failed dates keep from being computed."""
    return {
        (reader.name, day) for reader in READERS[table] for day in BROKEN[table] if day <= HAVE[reader].end
    }


def days_of(request: dg.RunRequest) -> DateRange:
    return DateRange(*(dt.date.fromisoformat(request.tags[tag]) for tag in (RANGE_START_TAG, RANGE_END_TAG)))


def churn_run(house: House) -> None:
    house.run()


def daily_job(house: House) -> None:
    job = house.definitions.resolve_job_def(PIPELINE_NAME)
    job.execute_in_process(instance=house.instance, run_config=QUIET)


def backfill(house: House) -> None:
    pipeline = Pipeline(house.definitions, house.lake, house.instance, lambda _: None)
    pipeline.backfill(WHOLE, lambda: make_plan(house.lake, NOW, WHOLE))


def tasks(house: House) -> None:
    """Those of the Databricks job, which have never heard of any other run."""
    task = TaskPipeline(house.definitions, house.lake, house.instance, lambda _: None)
    task.featurize(NOW)
    task.train()
    task.score(NOW)


def test_the_ledger_names_the_check(broken: Broken) -> None:
    house, table = broken

    found = read_ledger(house.lake).dates(table)

    blocked = {day: row.blocked_by for day, row in found.items() if row.blocked_by}
    assert blocked == dict.fromkeys(BROKEN[table], "unique_key")


def test_churn_run_does_the_rest_trains_nothing_and_fails(broken: Broken) -> None:
    house, table = broken

    with pytest.raises(
        BlockedError, match=rf"^Everything else is done, but {table.name} of .* \(unique_key\)"
    ):
        churn_run(house)

    assert trainings(house) == 0
    assert computed_from_it(house, table) == set()
    not_scored = set(BROKEN[table]) if table is USER_FEATURES else set()
    assert set(house.lake.partition_rows(CHURN_PREDICTIONS)) == set(WHOLE.days()) - not_scored


def test_the_sensor_asks_for_nothing_that_reads_it(broken: Broken) -> None:
    house, table = broken

    assert asked_for(house) & waiting(table) == set()
    blocked = make_plan(house.lake, NOW).blocked
    assert set(READERS[table]) <= set(blocked)


def test_the_daily_job_trains_nothing_and_is_not_tried_again(broken: Broken) -> None:
    house, table = broken
    job = house.definitions.resolve_job_def(PIPELINE_NAME)

    result = job.execute_in_process(instance=house.instance, run_config=QUIET, raise_on_error=False)

    assert not result.success
    assert [event for event in result.all_events if event.is_step_up_for_retry] == []
    assert trainings(house) == 0
    assert computed_from_it(house, table) == set()


def test_a_backfill_computes_nothing_from_it(broken: Broken) -> None:
    house, table = broken

    with pytest.raises(BlockedError, match=r"^Everything else is done"):
        backfill(house)

    assert computed_from_it(house, table) == set()


def test_the_tasks_of_the_databricks_job_train_nothing(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, table = broken
    with dg.DagsterInstance.ephemeral() as instance:
        task = TaskPipeline(house.definitions, house.lake, instance, lambda _: None)
        task.featurize(NOW)
        task.train()
        task.score(NOW)

        assert "No model was trained" in task.report.notes[-1]
        assert CHURN_PREDICTION_MODEL.path[0] not in task.report.computed
        # Last, as in churn run, so that what reads neither goes on.
        monkeypatch.setattr(task.runner, "materialize", lambda *_: None)
        with pytest.raises(BlockedError, match=r"^Everything else is done"):
            task.deploy()
    assert computed_from_it(house, table) == set()


def test_a_run_that_somebody_starts_in_the_ui_is_refused(broken: Broken) -> None:
    house, table = broken
    job = house.definitions.resolve_implicit_global_asset_job_def()

    for key, day in ((CHURN_PREDICTION_MODEL, None), (asset_key(READERS[table][-1]), str(MIDDLE))):
        with pytest.raises(BlockedError, match="mend what is behind them"):
            job.execute_in_process(
                instance=house.instance, asset_selection=[key], partition_key=day, run_config=QUIET
            )


@pytest.fixture(scope="module")
def mended(broken: Broken) -> Broken:
    """The transform has been mended; somebody computes the dates again."""
    house, table = broken
    job = house.definitions.resolve_implicit_global_asset_job_def()
    for day in BROKEN[table]:
        job.execute_in_process(
            instance=house.instance,
            asset_selection=[asset_key(table)],
            partition_key=str(day),
            run_config=QUIET,
        )
    return broken


def test_once_the_check_passes_the_sensor_asks_for_all_that_has_waited(mended: Broken) -> None:
    house, table = mended

    assert asked_for(house) >= waiting(table)


@pytest.mark.parametrize("way", [churn_run, daily_job, backfill, tasks], ids=lambda way: way.__name__)
def test_once_the_check_passes_all_others_go_on(
    mended: Broken, way: Callable[[House], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, table = mended
    started: set[tuple[str, dt.date | None]] = set()

    def noted(_: Runner, what: str, keys: list[dg.AssetKey], dates: DateRange | None = None, why="") -> None:
        started.update((key.path[-1], day) for key in keys for day in (dates.days() if dates else [None]))

    # What one of them computes is no longer there for the next to do.
    monkeypatch.setattr(Runner, "materialize", noted)
    way(house)

    assert started >= waiting(table)
    assert way is backfill or (CHURN_PREDICTION_MODEL.path[-1], None) in started


def test_in_the_end_all_of_it_is_there(house: House) -> None:
    house.run()

    assert trainings(house) == 1
    for reader, dates in HAVE.items():
        assert set(house.lake.partition_rows(reader)) == set(dates.days()), reader
    assert not any(make_plan(house.lake, NOW).reasons.values())
