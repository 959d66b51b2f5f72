"""A failed blocking check is a barrier whoever asks, in the same run or later, and opens once it passes."""

import datetime as dt
import json
from collections.abc import Callable

import dagster as dg
import pytest
from pyspark.sql import functions as F

from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.pipeline import QUIET, Pipeline, RunFailedError
from churn_assets.automation.planning import make_plan
from churn_assets.automation.run_tags import RANGE_END_TAG, RANGE_START_TAG
from churn_assets.automation.schedules import PIPELINE_NAME
from churn_assets.automation.stale_dates import decide
from churn_assets.automation.task_pipeline import TaskPipeline
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import BlockedError
from churn_assets.lakehouse.computed_dates.looking import look
from churn_assets.tables import CHURN_LABELS, USER_FEATURES, Table
from churn_assets.transforms import features, labels
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, NOW, House

DAYS, HORIZON = 8, 2
BAD = FIRST_DAY + 2 * ONE_DAY
WHOLE = DateRange(FIRST_DAY, FIRST_DAY + (DAYS - 1) * ONE_DAY)
LABELLED = DateRange(FIRST_DAY, WHOLE.end - HORIZON * ONE_DAY)

# What the transform of each table gives where it breaks its contract.
BROKEN = {USER_FEATURES: (features, "user_features"), CHURN_LABELS: (labels, "churn_labels")}


@pytest.fixture(scope="module", params=BROKEN, ids=lambda table: table.name)
def broken(
    request: pytest.FixtureRequest,
    make_house: Callable[..., House],
    tmp_path_factory: pytest.TempPathFactory,
    deployment: str,
) -> tuple[House, Table]:
    """A lake after a run in which one date of features, or of labels, failed its checks."""
    if deployment == "spark":
        pytest.skip("who asks the ledger is the same on either engine, and its runs take minutes here")
    table: Table = request.param
    house = make_house(tmp_path_factory.mktemp("barrier"), horizon_days=HORIZON)
    house.landing.mkdir(parents=True)
    lines = [
        json.dumps({"event_id": f"{user}-{day}", "user_id": user, "event_ts": f"{day}T12:00:00Z"})
        for user in (1, 2)
        for day in WHOLE.days()
    ]
    (house.landing / "events.json").write_text("\n".join(lines) + "\n")
    module, name = BROKEN[table]
    good = getattr(module, name)

    def with_a_key_twice(*arguments, **more):
        found = good(*arguments, **more)
        return found.unionByName(found.where(F.col("feature_date") == F.lit(BAD)).limit(1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, with_a_key_twice)
        with pytest.raises(RunFailedError, match="unique_key"):
            house.run()
    return house, table


def trainings(house: House) -> int:
    return len(house.instance.fetch_materializations(CHURN_PREDICTION_MODEL, limit=10).records)


def reads_what_failed(house: House, table: Table) -> bool:
    """Whether labels of the date were computed from features that failed."""
    return table is USER_FEATURES and bool(house.lake.partition_rows(CHURN_LABELS).get(BAD))


def days_asked_for(request: dg.RunRequest) -> DateRange:
    return DateRange(*(dt.date.fromisoformat(request.tags[tag]) for tag in (RANGE_START_TAG, RANGE_END_TAG)))


def test_the_ledger_names_the_check(broken: tuple[House, Table]) -> None:
    house, table = broken

    found = look(house.lake).dates(table)
    assert {day: row.blocked_by for day, row in found.items() if row.blocked_by} == {BAD: "unique_key"}


def test_churn_run_does_the_rest_trains_nothing_and_fails(broken: tuple[House, Table]) -> None:
    house, table = broken

    with pytest.raises(BlockedError, match=rf"{table.name} of .* fails its checks \(unique_key\)"):
        house.run()

    assert trainings(house) == 0
    assert not reads_what_failed(house, table)


def test_the_sensor_asks_for_nothing_that_reads_it(broken: tuple[House, Table]) -> None:
    house, table = broken
    found = decide(lambda: look(house.lake), house.instance, house.settings, NOW)

    requests = found.run_requests or [] if isinstance(found, dg.SensorResult) else []
    asked = [
        request
        for request in requests
        if CHURN_LABELS.asset_key in (request.asset_selection or [])
        and BAD in set(days_asked_for(request).days())
    ]
    assert asked == []
    if table is USER_FEATURES:
        assert BAD in make_plan(house.lake, NOW).held[CHURN_LABELS]


def test_the_daily_job_trains_nothing_and_is_not_tried_again(broken: tuple[House, Table]) -> None:
    house, table = broken
    job = house.definitions.resolve_job_def(PIPELINE_NAME)

    result = job.execute_in_process(instance=house.instance, run_config=QUIET, raise_on_error=False)

    assert not result.success
    assert [event for event in result.all_events if event.is_step_up_for_retry] == []
    assert trainings(house) == 0
    assert not reads_what_failed(house, table)


def test_a_backfill_computes_nothing_from_it(broken: tuple[House, Table]) -> None:
    house, table = broken
    pipeline = Pipeline(house.definitions, house.lake, house.instance, lambda _: None)

    with pytest.raises(BlockedError):
        pipeline.backfill(WHOLE, lambda: make_plan(house.lake, NOW, WHOLE))

    assert not reads_what_failed(house, table)


def test_the_tasks_of_the_databricks_job_train_nothing(broken: tuple[House, Table]) -> None:
    house, table = broken
    with dg.DagsterInstance.ephemeral() as instance:
        task = TaskPipeline(house.definitions, house.lake, instance, lambda _: None)
        task.featurize(NOW)
        task.train()

        assert "No model was trained" in task.report.notes[-1]
        assert CHURN_PREDICTION_MODEL.path[0] not in task.report.computed
    assert not reads_what_failed(house, table)


def test_a_run_that_somebody_starts_in_the_ui_is_refused(broken: tuple[House, Table]) -> None:
    house, _ = broken
    job = house.definitions.resolve_implicit_global_asset_job_def()

    with pytest.raises(BlockedError, match="mend what is behind them"):
        job.execute_in_process(
            instance=house.instance, asset_selection=[CHURN_PREDICTION_MODEL], run_config=QUIET
        )


def test_once_the_check_passes_all_of_them_go_on(broken: tuple[House, Table]) -> None:
    house, table = broken
    job = house.definitions.resolve_implicit_global_asset_job_def()
    # The transform has been mended; somebody computes the date again.
    job.execute_in_process(
        instance=house.instance, asset_selection=[table.asset_key], partition_key=str(BAD), run_config=QUIET
    )

    house.run()

    assert trainings(house) == 1
    assert set(house.lake.partition_rows(CHURN_LABELS)) == set(LABELLED.days())
    assert not any(make_plan(house.lake, NOW, scores=False).reasons.values())
