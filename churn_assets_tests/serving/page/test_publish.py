"""What is published of a lake: the newest list, a row a user, and the overview."""

import datetime as dt
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.retention.collected import overview
from churn_assets.serving.endpoint import page_folder
from churn_assets.serving.page.publish import is_published, publish, publish_after_write
from churn_assets.serving.page.store import Filter, Snapshot, opened
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    PREDICTION_OUTCOMES,
    RETENTION_LIST,
    USER_DAILY_ACTIVITY,
    USER_MONTHLY_ACTIVITY,
    USERS,
)
from churn_assets_tests.rows import NOON, D, day, frame

# Who came when and was last seen when; D is 10 March 2026, and a churner is silent for 20 days.
LIVES = {1: (day(-60), day(-1)), 2: (day(-60), day(-30)), 3: (day(-10), day(-2)), 4: (day(-40), day(-25))}
COUNTRIES = {1: "DE", 2: None, 3: "FR", 4: "DE"}
HORIZON = 20
EARLIER = (day(-30), day(-7))


def settings_of(root: Path) -> Settings:
    return Settings(_env_file=None, lake_root=root, horizon_days=HORIZON)  # type: ignore[call-arg]  # pydantic-settings takes it


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> FolderLakehouse:
    """Users 1 to 3 are scored on D, 1 and 3 are to be contacted, and 2 is of the control group."""
    lake = FolderLakehouse(settings_of(tmp_path_factory.mktemp("page") / "lake"), lambda: spark)
    users = [(user, *dates, COUNTRIES[user], f"u{user}@example.com") for user, dates in LIVES.items()]
    lake.write(USERS, frame(spark, USERS, users))
    scored = [(1, D, 0.75, True, NOON, 1), (2, D, 0.5, True, NOON, 1), (3, D, 0.25, False, NOON, 1)]
    scored += [(user, on, 0.125, False, NOON, 1) for on in EARLIER for user in (1, 2)]
    for on in (*EARLIER, D):
        rows = [row for row in scored if row[1] == on]
        lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), DateRange(on, on))
    happened = [(1, day(-30), 0.125, False, 0, True, 1, NOON), (2, day(-30), 0.125, False, 1, True, 1, NOON)]
    lake.write(
        PREDICTION_OUTCOMES, frame(spark, PREDICTION_OUTCOMES, happened), DateRange(day(-30), day(-30))
    )
    why = [(1, D, 1, "days_since_last_event", 1.0, 0.5, "No event for 1 day", 1)]
    why += [(1, D, 2, "active_days_30d", 9.0, -0.5, "9 active days", 1)]
    lake.write(CHURN_REASONS, frame(spark, CHURN_REASONS, why), DateRange(D, D))
    activity = [(1, day(-1), 5, 0), (3, day(-2), 70_000, 0), (4, day(-25), 1, 0)]
    for row in activity:
        lake.write(USER_DAILY_ACTIVITY, frame(spark, USER_DAILY_ACTIVITY, [row]), DateRange(row[1], row[1]))
    months = [(user, dt.date(2026, 1, 31), 1, 1, 0) for user in (1, 2, 4)]
    lake.write(
        USER_MONTHLY_ACTIVITY,
        frame(spark, USER_MONTHLY_ACTIVITY, months),
        DateRange(dt.date(2026, 1, 31), dt.date(2026, 1, 31)),
    )
    months = [(1, dt.date(2026, 2, 28), 1, 1, 0)]
    lake.write(
        USER_MONTHLY_ACTIVITY,
        frame(spark, USER_MONTHLY_ACTIVITY, months),
        DateRange(dt.date(2026, 2, 28), dt.date(2026, 2, 28)),
    )
    listed = [
        (1, D, "u1@example.com", 1, "contact", 0.75, 0.625, "high", 90.0, 5.0, 0.1, "Quiet", None, None, 1),
        (2, D, "u2@example.com", 2, "control", 0.5, 0.375, "medium", 80.0, 3.0, 0.1, None, None, None, 1),
        (3, D, "u3@example.com", 3, "contact", 0.25, -0.01, "medium", 90.0, 1.0, 0.1, None, None, None, 1),
    ]  # fmt: skip
    lake.write(RETENTION_LIST, frame(spark, RETENTION_LIST, listed), DateRange(D, D))
    return lake


@pytest.fixture(scope="module")
def snapshot(lake: FolderLakehouse) -> Snapshot:
    publish(lake)
    found = opened(page_folder(lake.settings))
    assert found is not None
    return found


def test_the_list_is_there_with_countries_and_who_is_new_at_this_risk(snapshot: Snapshot) -> None:
    [first, last] = snapshot.rows(snapshot.find(Filter()).ranks)

    assert (first["user_id"], first["country"], first["reason_1"]) == (1, "DE", "Quiet")
    assert (last["user_id"], last["country"], last["reason_1"]) == (3, "FR", None)
    # At 0.125 a week before user 1 was at low risk (below 0.2), and user 3 in the same band as now.
    assert snapshot.find(Filter(is_new=True)).ranks.tolist() == [1]
    assert (snapshot.about.contacts, snapshot.about.control) == (2, 1)


def test_each_scored_user_has_a_history_whether_listed_or_not(snapshot: Snapshot) -> None:
    user, control = snapshot.user("u1@example.com"), snapshot.user("2")

    assert user is not None
    # Of dates with predictions, those of the last week and one a week before: day -30 is none of these.
    assert user.probabilities == ((day(-7), 0.125), (D, 0.75))
    assert [(on, count) for on, count in user.events if count] == [(day(-1), 5)]
    assert len(user.events) == 90
    assert user.reasons == (("No event for 1 day", True), ("9 active days", False))
    assert (user.row["first_seen_date"], user.row["country"]) == (str(day(-60)), "DE")
    assert control is not None
    assert (control.row["country"], control.reasons) == (None, ())
    assert snapshot.user("4") is None


def test_more_events_than_are_kept_are_shown_as_the_most_that_are(snapshot: Snapshot) -> None:
    user = snapshot.user("3")

    assert user is not None
    assert max(count for _, count in user.events) == 65_535


def test_the_trend_adds_probabilities_up_and_knows_who_churned_where_that_is_known(
    lake: FolderLakehouse, snapshot: Snapshot
) -> None:
    trend = [tuple(one) for one in snapshot.about.overview.trend]

    assert trend == [(day(-30), 2, 0.25, 1), (day(-7), 2, 0.25, None), (D, 3, 1.5, None)]
    assert snapshot.about.overview == overview(lake, D)


def test_retention_is_by_month_of_the_first_event_in_months_that_are_over(snapshot: Snapshot) -> None:
    # Users 1, 2 and 4 came in January; in February only 1 was active. 3 came on the last day of February.
    cohorts = [tuple(one) for one in snapshot.about.overview.cohorts]

    assert cohorts == [("2026-01", 3, (1.0, pytest.approx(1 / 3))), ("2026-02", 1, (0.0,))]


def test_lifetimes_end_where_users_are_known_to_be_gone(snapshot: Snapshot) -> None:
    [curve] = snapshot.about.overview.curves

    # 3 is too new to know. 2 went after 30 days, 4 after 15, and 1 is known to be there for 40.
    assert (curve.name, curve.users) == ("All users", 3)
    assert [step.day for step in curve.steps] == [0]


def test_it_is_published_again_only_where_the_list_is_newer(
    lake: FolderLakehouse, spark: SparkSession, tmp_path: Path
) -> None:
    publish(lake)
    assert is_published(lake)

    (page_folder(lake.settings) / "CURRENT").unlink()
    assert not is_published(lake)
    assert publish_after_write(lake) == {"page": "published, 2 contacts"}
    assert is_published(lake)

    empty = FolderLakehouse(settings_of(tmp_path / "empty"), lambda: spark)
    assert is_published(empty)
    assert publish_after_write(empty) == {"page": "no list yet"}


def test_what_cannot_be_published_is_said_and_stops_nothing(lake: FolderLakehouse) -> None:
    folder = page_folder(lake.settings)
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("a file where the folder should be")
    try:
        [says] = publish_after_write(lake).values()
    finally:
        folder.unlink()
        aside.rename(folder)

    assert says.startswith("not published: ")
    assert "\n" not in says


def test_an_engine_that_refuses_is_said_and_stops_nothing(
    lake: FolderLakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake, "read", lambda *_: lake.spark.table("nowhere").toArrow())

    [says] = publish_after_write(lake).values()

    assert says.startswith("not published: ")
    assert "\n" not in says
