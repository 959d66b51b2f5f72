"""What ``churn status`` reads from Delta logs and the registry, without an engine."""

import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets.console import print_summary
from churn_assets.dates import DateRange
from churn_assets.errors import LakeError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.serving.rollout.endpoint_status import EndpointStatus
from churn_assets.settings import Settings
from churn_assets.status import ListStatus, Status, TableStatus, lake_status, score_metadata
from churn_assets.tables import CHURN_PREDICTIONS, QUARANTINED_EVENTS, USERS
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import NOON, frame

# Two of at least 0.5, four of at least 0.25, 2.2 in all.
CHANCES = (0.1, 0.25, 0.3, 0.65, 0.9)
FIRST, SECOND = dt.date(2026, 1, 1), dt.date(2026, 1, 2)


def seen_without_engine(settings: Settings) -> Status:
    def no_engine() -> SparkSession:
        raise AssertionError("a status needs no engine")

    return lake_status(FolderLakehouse(settings, no_engine))


def only_table(status: Status) -> TableStatus:
    assert len(status.tables) == 1
    return status.tables[0]


def predict(lake: FolderLakehouse, spark: SparkSession, *rows: tuple[int, dt.date, float]) -> None:
    days = [day for _, day, _ in rows]
    predictions = [(user, day, chance, chance >= 0.5, NOON, 1) for user, day, chance in rows]
    lake.write(
        CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, predictions), DateRange(min(days), max(days))
    )


def test_looking_at_an_empty_lake_makes_nothing(make_settings: MakeSettings, tmp_path: Path) -> None:
    # On a port that nothing listens on, and nothing of this machine's.
    status = seen_without_engine(make_settings(endpoint_url="http://127.0.0.1:9"))

    assert status == Status(endpoint=EndpointStatus("http://127.0.0.1:9", "not running"))
    assert list(tmp_path.iterdir()) == []


def test_rows_dates_version_and_bytes_are_those_of_the_latest_version(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    predict(lake, spark, (1, FIRST, 0.1), (2, FIRST, 0.2), (1, SECOND, 0.3))
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    predict(lake, spark, (1, FIRST, 0.4))

    row = only_table(seen_without_engine(lake.settings))

    assert (row.table, row.rows, row.version) == ("main_catalog.gold.churn_predictions", 2, 2)
    assert (row.first_date, row.last_date) == (FIRST, SECOND)
    files = lake.location(CHURN_PREDICTIONS).rglob("*.parquet")
    # One file of the two dates has been replaced, and is still there for older versions.
    assert 0 < row.bytes < sum(file.stat().st_size for file in files)
    assert before <= row.changed_at <= dt.datetime.now(dt.UTC)


def test_a_table_without_dates_has_none(lake: FolderLakehouse, spark: SparkSession) -> None:
    lake.write(USERS, frame(spark, USERS, [(1, FIRST, SECOND, "DE")]))

    row = only_table(seen_without_engine(lake.settings))

    assert (row.rows, row.first_date, row.last_date) == (1, None, None)


def test_a_table_that_has_no_row_yet_is_there_with_none(lake: FolderLakehouse) -> None:
    lake.read(QUARANTINED_EVENTS)

    row = only_table(seen_without_engine(lake.settings))

    assert (row.rows, row.bytes, row.version) == (0, 0, 0)
    assert (row.first_date, row.last_date) == (None, None)


def test_the_scores_are_those_of_the_last_date_only(lake: FolderLakehouse, spark: SparkSession) -> None:
    predict(lake, spark, (1, FIRST, 0.9), (2, FIRST, 0.9), (1, SECOND, 0.25), (2, SECOND, 0.75))

    scores = seen_without_engine(lake.settings).scores

    assert scores is not None
    assert (scores.feature_date, scores.users, scores.predicted_churn) == (SECOND, 2, 1)
    assert scores.mean_churn_probability == pytest.approx(0.5)


def test_the_sum_of_the_probabilities_is_expected_to_churn_and_who_pays_is_worth_contacting(
    make_settings: MakeSettings, lake: FolderLakehouse, spark: SparkSession
) -> None:
    predict(lake, spark, (9, FIRST, 0.9), *[(user, SECOND, chance) for user, chance in enumerate(CHANCES)])
    # A contact costs 2, and saves 0.1 of 80 where it meets a churner: it pays from 0.25 on.
    costs = make_settings(contact_cost=2, saved_value=80, save_rate=0.1)

    scores = seen_without_engine(costs).scores

    assert scores is not None
    assert (scores.users, scores.predicted_churn, scores.worth_contacting) == (5, 2, 4)
    assert (scores.expected_churn, scores.contact_threshold) == (pytest.approx(2.2), 0.25)
    assert json.loads(json.dumps(asdict(scores), default=str))["worth_contacting"] == 4


def test_nobody_is_worth_a_contact_that_costs_more_than_it_can_gain(
    make_settings: MakeSettings, lake: FolderLakehouse, spark: SparkSession
) -> None:
    # As an old model may have been.
    predict(lake, spark, (1, FIRST, 1.0))

    scores = seen_without_engine(make_settings(contact_cost=6)).scores

    assert scores is not None
    assert (scores.predicted_churn, scores.worth_contacting, scores.contact_threshold) == (1, 0, 1)


def test_the_materialisation_says_what_the_status_does(lake: FolderLakehouse, spark: SparkSession) -> None:
    predict(lake, spark, *[(user, FIRST, chance) for user, chance in enumerate(CHANCES)])

    assert score_metadata(lake, FIRST) == {
        "predicted_churn": 2,
        "expected_churn": pytest.approx(2.2),
        "worth_contacting": 4,
        "contact_threshold": pytest.approx(0.2),
        "save_rate_says": "save rate 0.1 assumed (CHURN_SAVE_RATE)",
    }
    assert score_metadata(lake, SECOND) == {}


def test_the_summary_has_a_line_for_each(
    lake: FolderLakehouse, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(lake, spark, *[(user, FIRST, chance) for user, chance in enumerate(CHANCES)])

    print_summary(seen_without_engine(lake.settings), lake.settings)

    assert capsys.readouterr().out.splitlines()[1:3] == [
        "Predictions for 2026-01-01: 5 users, 2 predicted to churn, mean probability 0.440.",
        (
            "Expected to churn, as the sum of the probabilities: 2. "
            "Worth contacting from 0.2 on, if each were worth 50 (CHURN_SAVED_VALUE): 4."
        ),
    ]


def test_the_list_is_said_to_value_each_user(
    make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Status(retention=ListStatus(FIRST, 124, [])), make_settings())

    assert capsys.readouterr().out.splitlines()[1] == (
        "Whom to contact after 2026-01-01, by what each user is worth: 124 users, with the control group. "
        "List: churn export --at-risk; as a page: churn report --at-risk"
    )


def test_a_predictions_table_without_rows_has_no_scores(lake: FolderLakehouse, spark: SparkSession) -> None:
    predict(lake, spark, (1, FIRST, 0.9))
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, []), DateRange(FIRST, FIRST))

    assert seen_without_engine(lake.settings).scores is None


def test_tables_carry_the_names_of_the_catalogs_in_the_settings(
    make_settings: MakeSettings, spark: SparkSession, deployment: str
) -> None:
    # The folder is named after the catalog; the engine's catalogs are those of the whole test run.
    settings = make_settings()
    lake = FolderLakehouse(settings, lambda: spark)
    lake.write(USERS, frame(spark, USERS, [(1, FIRST, SECOND, "DE")]))
    (settings.lake_root / "main_catalog").rename(settings.lake_root / "churn_prod")

    row = only_table(seen_without_engine(make_settings(main_catalog="churn_prod")))

    assert row.table == "churn_prod.clean.users"


def test_a_lake_that_is_a_file_is_said(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "lake").touch()

    with pytest.raises(LakeError, match=r"is a file\. Move it away, or set CHURN_LAKE_ROOT"):
        seen_without_engine(make_settings())
