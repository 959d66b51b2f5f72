"""What the table and its two checks say, in runs as Dagster makes them."""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets import settings as settings_module
from churn_assets.asset_keys import asset_key
from churn_assets.assets.drift import (
    FEATURE_CHECK,
    NOTHING_TO_JUDGE,
    SCORE_CHECK,
    drift_assets,
    drift_checks,
    judge,
)
from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.model.registry import registry
from churn_assets.model.registry.drift_reference import ARTIFACT
from churn_assets.tables import CHURN_PREDICTIONS, FEATURE_COLUMNS, FEATURE_DRIFT, USER_FEATURES
from churn_assets.transforms.drift import COMPARED
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.model.conftest import take_over
from churn_assets_tests.rows import NOON, D, day, frame, rows_of

SETTINGS = settings_module.load(_env_file=None, drift_warn=0.05, drift_fail=0.1)
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
DATES = DateRange(day(-9), day(0))

Results = dict[str, dg.AssetCheckEvaluation]


def drift_rows(date: dt.date = D, *, chance: float = 0.02, **psi: float) -> list[dict[str, Any]]:
    """All names of one date; a PSI that is not given is 0.01."""
    return [
        {
            "feature_date": date,
            "feature": name,
            "psi": psi.get(name, 0.01),
            "psi_by_chance": chance,
            "users": 900,
            "model_version": 3,
        }
        for name in COMPARED
    ]


def test_small_distances_pass_and_are_shown() -> None:
    result = judge(FEATURE_CHECK, drift_rows(), SETTINGS)

    assert (result.passed, result.description) == (True, None)
    assert result.metadata["largest_psi"].value == 0.01
    shown = str(result.metadata["psi"].value).splitlines()
    assert shown[0] == f"| feature_date | users | model_version | {' | '.join(FEATURE_COLUMNS)} |"
    assert shown[2].startswith("| 2026-03-10 | 900 | 3 | 0.010 (0.020) |")


def test_a_feature_that_reaches_the_limit_fails_and_is_named_with_date_psi_and_limit() -> None:
    result = judge(FEATURE_CHECK, drift_rows(rolling_7d_events=0.06, days_since_last_event=0.1), SETTINGS)

    assert (result.passed, result.severity) == (False, ERROR)
    assert result.description == (
        "days_since_last_event on 2026-03-10: PSI 0.100, the limit is 0.1 (CHURN_DRIFT_FAIL)"
    )


def test_a_feature_on_its_way_there_is_a_warning() -> None:
    result = judge(FEATURE_CHECK, drift_rows(rolling_7d_events=0.06), SETTINGS)

    assert (result.passed, result.severity) == (False, WARN)
    assert result.description == (
        "rolling_7d_events on 2026-03-10: PSI 0.060, the limit is 0.05 (CHURN_DRIFT_WARN)"
    )


def test_what_chance_may_do_is_no_drift() -> None:
    assert judge(FEATURE_CHECK, drift_rows(active_days_30d=0.3, chance=0.31), SETTINGS).passed

    result = judge(FEATURE_CHECK, drift_rows(active_days_30d=0.32, chance=0.31), SETTINGS)

    assert (result.passed, result.severity) == (False, ERROR)
    assert str(result.description).endswith("PSI 0.320, the limit is 0.310 (chance with 900 users)")


def test_of_several_dates_each_feature_is_named_once_with_the_date_on_which_it_went_furthest() -> None:
    rows = [
        *drift_rows(day(-2), rolling_7d_events=0.2, days_since_last_event=0.11),
        *drift_rows(day(-1), rolling_7d_events=0.3),
        *drift_rows(day(0), rolling_7d_events=0.25),
    ]
    found = str(judge(FEATURE_CHECK, rows, SETTINGS).description).split("; ")

    assert [one.partition(":")[0] for one in found] == [
        "rolling_7d_events on 2026-03-09",
        "days_since_last_event on 2026-03-08",
    ]


def test_the_age_of_accounts_is_not_judged_and_the_score_is_another_checks_business() -> None:
    rows = drift_rows(account_age_days=2.5, churn_probability=0.4)

    assert judge(FEATURE_CHECK, rows, SETTINGS).passed
    result = judge(SCORE_CHECK, rows, SETTINGS)
    assert (result.passed, result.severity) == (False, ERROR)
    assert str(result.description).startswith("churn_probability on 2026-03-10: PSI 0.400")


@pytest.fixture
def checked(
    lake: FolderLakehouse, spark: SparkSession, instance: dg.DagsterInstance
) -> Callable[..., Results]:
    """A run of both checks after one that wrote these rows: of a range of dates, or alone."""

    def run(rows: Sequence[dict[str, Any]], dates: DateRange | None = None) -> Results:
        if rows:
            written = [tuple(row[name] for name in FEATURE_DRIFT.column_names) for row in rows]
            lake.write(FEATURE_DRIFT, frame(spark, FEATURE_DRIFT, written), DATES)
        job = dg.Definitions(
            assets=[dg.AssetSpec(asset_key(FEATURE_DRIFT))],
            asset_checks=[drift_checks()],
            resources={"lakehouse": lake, "pyspark": None, "pyspark_step_launcher": None},
            executor=dg.in_process_executor,
        ).resolve_implicit_global_asset_job_def()
        tags = (
            {
                "dagster/asset_partition_range_start": str(dates.start),
                "dagster/asset_partition_range_end": str(dates.end),
            }
            if dates
            else {}
        )
        result = job.execute_in_process(instance=instance, tags=tags)
        return {one.check_name: one for one in result.get_asset_check_evaluations()}

    return run


def test_a_run_is_judged_by_its_last_seven_dates_and_a_check_alone_by_the_last_date_there_is(
    checked: Callable[..., Results],
) -> None:
    rows = [
        *drift_rows(day(-7), event_count_30d=0.9),
        *drift_rows(day(-6), churn_probability=0.5),
        *drift_rows(day(-5), active_days_30d=0.2),
        *drift_rows(day(0)),
    ]

    results = checked(rows, DATES)
    assert {name: result.passed for name, result in results.items()} == {
        FEATURE_CHECK: False,
        SCORE_CHECK: False,
    }
    assert str(results[FEATURE_CHECK].description).startswith("active_days_30d on 2026-03-05")
    assert results[FEATURE_CHECK].metadata["dates"].value == 3

    alone = checked([])
    assert {name: result.passed for name, result in alone.items()} == {FEATURE_CHECK: True, SCORE_CHECK: True}
    assert alone[FEATURE_CHECK].metadata["dates"].value == 1


def test_without_a_row_both_checks_pass_and_say_why(checked: Callable[..., Results]) -> None:
    for result in checked([], DATES).values():
        assert result.passed
        assert result.description == NOTHING_TO_JUDGE


def test_a_run_compares_what_each_version_scored_and_leaves_out_one_without_a_reference(
    make_settings: MakeSettings, new_database: Path, spark: SparkSession, instance: dg.DagsterInstance
) -> None:
    settings = make_settings(start_date=day(-1), end_date=day(0))
    take_over(new_database, settings)
    lake = FolderLakehouse(settings, lambda: spark)
    users = [(1, 0), (2, 0), (3, 0), (4, 5)]
    dates = {day(-1): 1, day(0): 2}
    both = DateRange(day(-1), day(0))
    features = [(user, date, 9, 5, away, 0, 40, 2) for date in dates for user, away in users]
    scores = [
        (user, date, 0.25, False, NOON, version) for date, version in dates.items() for user, _ in users
    ]
    lake.write(USER_FEATURES, frame(spark, USER_FEATURES, features), both)
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, scores), both)
    one_bin = {"edges": [], "shares": [1.0], "users": 4}
    half_today = {"edges": [0.5], "shares": [0.5, 0.5], "users": 4}
    nothing = {"edges": [], "shares": [], "users": 4, "missing": 1.0}
    missing = dict.fromkeys(("days_since_last_purchase", "amount_total"), nothing)
    register(settings, {**dict.fromkeys(COMPARED, one_bin), **missing, "days_since_last_event": half_today})
    register(settings, None)

    result = dg.materialize(
        [
            *drift_assets(settings),
            dg.AssetSpec(asset_key(USER_FEATURES)),
            dg.AssetSpec(asset_key(CHURN_PREDICTIONS)),
        ],
        selection=[asset_key(FEATURE_DRIFT)],
        instance=instance,
        resources={
            "lakehouse": lake,
            "lake_io": LakeIOManager(lake),
            "pyspark": None,
            "pyspark_step_launcher": None,
        },
        tags={
            "dagster/asset_partition_range_start": str(both.start),
            "dagster/asset_partition_range_end": str(both.end),
        },
    )

    assert result.success
    made = result.asset_materializations_for_node(asset_key(FEATURE_DRIFT).to_python_identifier())[0]
    assert made.metadata["compared_with_versions"].value == "1"
    written = lake.read(FEATURE_DRIFT)
    assert written.count() == len(COMPARED)
    assert rows_of(written.where("psi > 0").selectExpr("feature_date", "feature", "round(psi, 6)")) == [
        (day(-1), "days_since_last_event", 0.274653)
    ]


def register(settings: Any, reference: dict[str, Any] | None) -> None:
    """The next version, whose run left this reference or none."""
    registry.configure(settings)
    from mlflow import MlflowClient

    client, name = MlflowClient(), registry.registered_model_name(settings)
    experiment = client.get_experiment_by_name(registry.experiment_name(settings))
    assert experiment
    run = client.create_run(experiment.experiment_id)
    if reference:
        client.log_dict(run.info.run_id, reference, ARTIFACT)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)


def test_a_date_of_a_version_from_before_a_feature_came_shows_none_of_it() -> None:
    rows = [row for row in drift_rows(rolling_7d_events=0.01) if row["feature"] != "event_count_30d"]

    shown = str(judge(FEATURE_CHECK, rows, SETTINGS).metadata["psi"].value).splitlines()

    assert shown[0].startswith("| feature_date | users | model_version | event_count_30d | active_days_30d |")
    assert shown[-1].startswith(f"| {D} | 900 | 3 | none | 0.010 (")
