"""``churn backfill`` as a command: what it says it would do, doing it, and dying on the way."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable

from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    DAILY_SUMMARY,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    Table,
)
from churn_assets_tests import forked
from churn_assets_tests.end_to_end.command import settings_in
from churn_assets_tests.end_to_end.conftest import DAYS, FIRST_DAY, HORIZON, LAST_DAY, House

WHOLE = DateRange(FIRST_DAY, LAST_DAY)


@pytest.fixture(scope="module")
def settings(house: House, tmp_path_factory: pytest.TempPathFactory, deployment: str) -> Settings:
    """The tables and the model of ``house`` without its history: as if every date of Gold had been lost."""
    if deployment != "local":
        pytest.skip("each command would start a Spark of its own; what is killed is the same code on both")
    folder = tmp_path_factory.mktemp("backfill")
    shutil.copytree(house.settings.lake_root, folder / "lake")
    shutil.copytree(house.landing, folder / "landing")
    for table in (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_FEATURES, CHURN_LABELS):
        shutil.rmtree(folder / "lake" / "main_catalog" / table.schema / table.name)
    return settings_in(folder)


def backfill(settings: Settings, *options: str) -> AbstractContextManager[forked.Command]:
    return forked.at_work(settings, "backfill", "--from", str(WHOLE.start), "--to", str(WHOLE.end), *options)


def finished(settings: Settings, *options: str) -> str:
    with backfill(settings, *options) as command:
        ended = command.wait()
    assert ended.exit_code == 0, ended.err
    return " ".join(ended.out.split())


def location(settings: Settings, table: Table) -> Path:
    return FolderLakehouse(settings, _no_engine).location(table)


def content(settings: Settings, table: Table) -> pd.DataFrame:
    rows = DeltaTable(location(settings, table)).to_pyarrow_table(columns=table.content_columns)
    return rows.sort_by([(name, "ascending") for name in table.content_columns]).to_pandas()


def _no_engine():
    raise AssertionError("looking at a lake needs no engine")


def test_a_dry_run_says_what_is_missing_and_writes_nothing(settings: Settings) -> None:
    said = finished(settings, "--dry-run")

    assert f"user_features: {DAYS} stale dates (missing {DAYS})" in said
    assert f"churn_labels: {DAYS - HORIZON} stale dates (missing {DAYS - HORIZON})" in said
    # Activity, summary and features share one, and predictions, their reasons and drift; labels come between
    # them, and outcomes, of their dates, after both.
    assert "4 runs, no run of the past tells how long" in said
    assert not location(settings, USER_FEATURES).exists()


def test_killed_half_way_and_started_again_the_tables_are_those_of_an_undisturbed_run(
    settings: Settings, house: House
) -> None:
    features = location(settings, USER_FEATURES) / "_delta_log" / f"{1:020}.json"
    with backfill(settings) as command:
        forked.wait_until(features.exists, command)
        command.kill()
    assert not location(settings, CHURN_LABELS).exists()

    said = finished(settings)

    # What was finished before is not computed again.
    assert "of user_daily_activity" not in said
    assert f"{DAYS - HORIZON} of churn_labels" in said
    for table in (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_FEATURES, CHURN_LABELS):
        pd.testing.assert_frame_equal(content(settings, table), house.content(table))


def test_afterwards_nothing_is_stale_and_asking_for_predictions_scores_them_again(settings: Settings) -> None:
    assert finished(settings, "--dry-run") == f"Nothing of {WHOLE} is stale."

    said = finished(settings, "--dry-run", "--predictions")

    assert f"churn_predictions: {DAYS} stale dates (asked for {DAYS})" in said
    assert f"prediction_outcomes: {DAYS - HORIZON} stale dates (upstream newer {DAYS - HORIZON})" in said
    # The list of the last date is one of its own.
    assert "3 runs, about " in said
    assert len(content(settings, CHURN_PREDICTIONS)) > 0


def test_another_horizon_makes_all_labels_stale_and_the_plan_says_so(settings: Settings) -> None:
    # The horizon is part of what a label is.
    longer = settings.model_copy(update={"horizon_days": HORIZON + 1})

    said = finished(longer, "--dry-run")

    # The last date's horizon is no longer over, so its label goes.
    again = DAYS - HORIZON - 1
    assert f"churn_labels: {again + 1} stale dates (horizon changed {again}, not to be labelled 1)" in said
    assert "user_features" not in said
