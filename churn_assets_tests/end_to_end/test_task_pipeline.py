"""The tasks of the Databricks job, in parts and without a history: the same dates, the same tables."""

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.automation.runs.task_pipeline import TaskPipeline
from churn_assets.automation.staleness.plan import BY_MODEL, Reasons
from churn_assets.automation.staleness.planning import code_versions, make_plan
from churn_assets.automation.staleness.staleness import MISSING, UPSTREAM_NEWER
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    EVENTS,
    FEATURE_COLUMNS,
    FEATURE_DRIFT,
    MODEL_PROMOTIONS,
    PREDICTION_OUTCOMES,
    SCORE,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    Table,
)
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON, NOW, House
from churn_assets_tests.rows import NOON, frame

LAST = 40
GOLD = (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_MONTHLY_ACTIVITY, USER_FEATURES, CHURN_LABELS)


def day(number: int) -> dt.date:
    """The so-manieth day of the data, from 1 on."""
    return FIRST_DAY + (number - 1) * ONE_DAY


def land(house: House, name: str, *events: tuple[int, int]) -> None:
    """A file of events, each a user and the number of a day."""
    house.landing.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"event_id": f"{name}-{place}", "user_id": user, "event_ts": f"{day(number)}T12:00:00Z"})
        for place, (user, number) in enumerate(events)
    ]
    (house.landing / f"{name}.json").write_text("\n".join(lines) + "\n")


def planned(house: House) -> dict[Table, list[dt.date]]:
    versions = code_versions(house.definitions.resolve_asset_graph())
    plan = make_plan(house.lake, NOW, code_versions=versions, scores=False)
    return {table: sorted(reasons) for table, reasons in plan.reasons.items() if reasons}


def days(first: int, last: int) -> list[dt.date]:
    return list(DateRange(day(first), day(last)).days())


Tasks = Callable[[House], TaskPipeline]


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    """A task's own pipeline: with an instance that has never heard of any other."""
    with ExitStack() as instances:

        def make(house: House) -> TaskPipeline:
            instance = instances.enter_context(dg.DagsterInstance.ephemeral())
            return TaskPipeline(house.definitions, house.lake, instance, lambda _: None)

        yield make


@pytest.fixture(scope="module")
def first_night(
    deployment: str, make_house: Callable[..., House], tmp_path_factory: pytest.TempPathFactory
) -> tuple[House, int]:
    """A lake after its first ingest and featurize, and the count that featurize returned.

    User 1 comes every day of 40, user 2 on every tenth, user 3 once, on the first.
    """
    if deployment == "spark":
        pytest.skip("what is behind is asked in SQL that both engines run; its runs take minutes here")
    made = make_house(tmp_path_factory.mktemp("first_night"))
    regular = [(1, number) for number in range(1, LAST + 1)]
    land(made, "first", *regular, *((2, number) for number in (10, 20, 30, 40)), (3, 1))
    with dg.DagsterInstance.ephemeral() as instance:
        task = TaskPipeline(made.definitions, made.lake, instance, lambda _: None)
        task.ingest()
        return made, task.featurize(NOW)


@pytest.fixture
def featurized(first_night: tuple[House, int], make_house: Callable[..., House], tmp_path: Path) -> House:
    """A copy of that lake, for one test."""
    shutil.copytree(Path(first_night[0].settings.landing_root).parent, tmp_path / "copy")
    return make_house(tmp_path / "copy")


def test_the_tables_are_those_of_churn_run(
    featurized: House, make_house: Callable[..., House], tmp_path: Path
) -> None:
    at_once = make_house(tmp_path / "at_once")
    shutil.copytree(featurized.landing, at_once.landing)
    at_once.run()

    for table in GOLD:
        assert featurized.content(table).equals(at_once.content(table)), table


def test_the_count_is_that_of_the_labelled_rows(first_night: tuple[House, int]) -> None:
    # Dates 1 to 33 have a whole horizon: user 1 on all of them, user 2 from day 10 on, user 3 up to day 30.
    assert first_night[1] == 33 + 24 + 30


def test_with_nothing_new_nothing_is_behind(featurized: House, tasks: Tasks) -> None:
    assert planned(featurized) == {}

    before = featurized.versions()
    again = tasks(featurized)
    again.featurize(NOW)

    assert again.report.runs == []
    assert featurized.versions() == before


def test_a_late_event_makes_its_windows_and_horizons_stale_and_no_other_date(
    featurized: House, tasks: Tasks
) -> None:
    land(featurized, "late", (2, 5))
    tasks(featurized).ingest()

    # User 2 is now known from day 5 on, so ages differ as long as there are features of user 2: to the end.
    assert planned(featurized) == {
        USER_DAILY_ACTIVITY: days(5, 5),
        DAILY_SUMMARY: [day(5), day(10)],
        USER_MONTHLY_ACTIVITY: [day(5), day(31)],
        USER_FEATURES: days(5, LAST),
        CHURN_LABELS: days(1, LAST - HORIZON),
    }

    land(featurized, "later", (1, 20))
    tasks(featurized).ingest()
    tasks(featurized).featurize(NOW)

    assert planned(featurized) == {}


def test_a_second_event_of_a_day_makes_its_month_and_all_later_totals_stale(
    featurized: House, tasks: Tasks
) -> None:
    land(featurized, "late", (1, 8))
    tasks(featurized).ingest()

    assert planned(featurized) == {
        USER_DAILY_ACTIVITY: days(8, 8),
        DAILY_SUMMARY: days(8, 8),
        USER_MONTHLY_ACTIVITY: [day(8), day(31)],
        USER_FEATURES: days(8, LAST),
        CHURN_LABELS: days(1, LAST - HORIZON),
    }


def test_what_a_death_after_the_activity_left_undone_is_found(featurized: House, tasks: Tasks) -> None:
    land(featurized, "late", (3, 15))
    tasks(featurized).ingest()
    dying = tasks(featurized)
    dying.runner.materialize("activity", [asset_key(USER_DAILY_ACTIVITY)], DateRange(day(15), day(15)))

    assert planned(featurized) == {
        DAILY_SUMMARY: days(15, 15),
        USER_MONTHLY_ACTIVITY: [day(15), day(31)],
        USER_FEATURES: days(15, LAST),
        CHURN_LABELS: days(8, LAST - HORIZON),
    }


def test_what_a_death_before_the_labels_left_undone_is_found(featurized: House, tasks: Tasks) -> None:
    land(featurized, "late", (3, 15))
    tasks(featurized).ingest()
    dying = tasks(featurized)
    dying.runner.materialize("activity", [asset_key(USER_DAILY_ACTIVITY)], DateRange(day(15), day(15)))
    dying.runner.materialize("months", [asset_key(USER_MONTHLY_ACTIVITY)], DateRange(day(15), day(31)))
    dying.runner.materialize("features", [asset_key(USER_FEATURES)], DateRange(day(15), day(LAST)))

    assert USER_FEATURES not in planned(featurized)
    # Of days 8 to 14 user 3 has stayed now, and of all later ones the features have changed.
    assert planned(featurized)[CHURN_LABELS] == days(8, LAST - HORIZON)


def test_a_new_day_adds_its_date_and_the_label_that_it_completes(featurized: House, tasks: Tasks) -> None:
    land(featurized, "next", (1, LAST + 1))
    tasks(featurized).ingest()

    assert planned(featurized) == {
        USER_DAILY_ACTIVITY: [day(LAST + 1)],
        DAILY_SUMMARY: [day(LAST + 1)],
        USER_MONTHLY_ACTIVITY: [day(LAST + 1)],
        USER_FEATURES: [day(LAST + 1)],
        CHURN_LABELS: [day(LAST + 1 - HORIZON)],
    }


def test_without_a_model_nothing_is_scored_and_nothing_deployed(featurized: House, tasks: Tasks) -> None:
    task = tasks(featurized)

    task.score(NOW)
    task.deploy()

    assert task.report.notes == [
        "Nothing was scored: there is no Production model yet.",
        "Nothing was deployed: there is no Production model yet.",
    ]
    assert featurized.lake.partition_rows(CHURN_PREDICTIONS) == {}


def test_too_few_rows_train_nothing_and_say_so(featurized: House, tasks: Tasks) -> None:
    task = tasks(featurized)

    task.train()

    assert task.report.notes[0] == "skipped_insufficient_data"
    assert "87 labelled rows are too few" in task.report.notes[1]
    # Who is champion is noted all the same: somebody may have moved the alias.
    assert set(task.report.computed) == {"churn_prediction_model", str(MODEL_PROMOTIONS)}


@pytest.fixture
def scored(make_settings: MakeSettings, spark: SparkSession) -> FolderLakehouse:
    """Two users on two days, scored by version 1 and labelled, and one on a third, scored by version 2."""
    lake = FolderLakehouse(make_settings(horizon_days=2), lambda: spark)
    dates = DateRange(day(1), day(3))
    # Somebody came on each of four days, so they are covered, and the first two can have labels.
    covered = DateRange(day(1), day(4))
    events = [(str(on), 1, NOON, on, None, None, NOON) for on in covered.days()]
    lake.write(EVENTS, frame(spark, EVENTS, events))
    activity = [(1, on, 1, 0) for on in covered.days()]
    lake.write(USER_DAILY_ACTIVITY, frame(spark, USER_DAILY_ACTIVITY, activity), covered)
    # No month ends on these days.
    lake.write(USER_MONTHLY_ACTIVITY, frame(spark, USER_MONTHLY_ACTIVITY, []), covered)
    features = [(1, on, 1, 1, 0, 0, 0, 1) for on in covered.days()]
    lake.write(USER_FEATURES, frame(spark, USER_FEATURES, features), covered)
    predictions = [(1, day(1), 0.1, 1), (2, day(1), 0.9, 1), (1, day(2), 0.1, 1), (2, day(2), 0.9, 1)]
    scores = [*predictions, (1, day(3), 0.1, 2)]
    rows = [(user, on, chance, chance >= 0.5, NOON, version) for user, on, chance, version in scores]
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), dates)
    reasons = [
        (user, on, rank, FEATURE_COLUMNS[rank], 1.0, 0.5, "So it is.", version)
        for user, on, _, version in scores
        for rank in (1, 2, 3)
    ]
    lake.write(CHURN_REASONS, frame(spark, CHURN_REASONS, reasons), dates)
    drift = [(day(1), 2, 1), (day(2), 2, 1), (day(3), 1, 2)]
    rows = [(on, name, 0.0, 0.1, n, v) for on, n, v in drift for name in (*FEATURE_COLUMNS, SCORE)]
    lake.write(FEATURE_DRIFT, frame(spark, FEATURE_DRIFT, rows), dates)
    labels = [(user, on, 1) for user in (1, 2) for on in (day(1), day(2))]
    lake.write(CHURN_LABELS, frame(spark, CHURN_LABELS, labels), DateRange(day(1), day(2)))
    outcomes = [(user, on, chance, chance >= 0.5, 1, False, 1, NOON) for user, on, chance, _ in predictions]
    lake.write(PREDICTION_OUTCOMES, frame(spark, PREDICTION_OUTCOMES, outcomes), DateRange(day(1), day(2)))
    return lake


def behind(lake: FolderLakehouse) -> dict[Table, Reasons]:
    plan = make_plan(lake, NOW, scores=False).only(*BY_MODEL)
    return {table: reasons for table, reasons in plan.reasons.items() if reasons}


def test_where_all_that_follows_scores_is_there_nothing_of_it_is_behind(scored: FolderLakehouse) -> None:
    assert behind(scored) == {}


def test_a_label_that_changed_makes_the_outcomes_of_its_date_stale(
    scored: FolderLakehouse, spark: SparkSession
) -> None:
    came_back = [(1, day(2), 0), (2, day(2), 1)]
    scored.write(CHURN_LABELS, frame(spark, CHURN_LABELS, came_back), DateRange(day(2), day(2)))

    assert behind(scored) == {PREDICTION_OUTCOMES: {day(2): UPSTREAM_NEWER}}


def test_a_new_label_makes_the_outcomes_of_its_date_missing(
    scored: FolderLakehouse, spark: SparkSession
) -> None:
    scored.write(CHURN_LABELS, frame(spark, CHURN_LABELS, [(1, day(3), 0)]), DateRange(day(3), day(3)))

    assert behind(scored) == {PREDICTION_OUTCOMES: {day(3): MISSING}}


def test_a_date_that_the_same_version_scored_again_has_what_is_said_of_the_scores_before(
    scored: FolderLakehouse, spark: SparkSession
) -> None:
    later = NOON + dt.timedelta(microseconds=1)
    rows = [(user, day(1), 0.2, False, later, 1) for user in (1, 2)]
    scored.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), DateRange(day(1), day(1)))

    stale = {day(1): UPSTREAM_NEWER}
    assert behind(scored) == dict.fromkeys((CHURN_REASONS, FEATURE_DRIFT, PREDICTION_OUTCOMES), stale)


def test_a_date_that_another_version_scored_has_reasons_and_drift_of_the_version_before(
    scored: FolderLakehouse, spark: SparkSession
) -> None:
    rows = [(1, day(3), 0.1, False, NOON, 3)]
    scored.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), DateRange(day(3), day(3)))

    stale = {day(3): UPSTREAM_NEWER}
    assert behind(scored) == {CHURN_REASONS: stale, FEATURE_DRIFT: stale}
