"""From files to scores, then again with nothing new, something late, and a death in between."""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from pyspark.sql import functions as F

from churn_assets.automation.pipeline import QUIET
from churn_assets.automation.plan import make_plan
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import DateRangeError, ImmatureLabelError, LandingError
from churn_assets.model import registry
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    DAILY_SUMMARY,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    TABLES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
)
from churn_assets_tests import reference
from churn_assets_tests.end_to_end.conftest import DAYS, FIRST_DAY, HORIZON, NOW, Frame, House

LAST_DAY = FIRST_DAY + (DAYS - 1) * ONE_DAY
ALL_DAYS = list(DateRange(FIRST_DAY, LAST_DAY).days())
LABELLED_DAYS = ALL_DAYS[:-HORIZON]


@pytest.fixture(scope="module")
def truth(landed: Path) -> reference.Silver:
    files = {path.name: path.read_text().splitlines() for path in sorted(landed.iterdir())}
    return reference.silver([reference.Ingestion(NOW, files)])


def rows(frame: Frame) -> list[tuple]:
    return sorted(tuple(row) for row in frame.itertuples(index=False))


def land(house: House, name: str, *events: dict) -> None:
    (house.landing / name).write_text("".join(json.dumps(event) + "\n" for event in events))


def event(event_id: str, user_id: int, day: dt.date, event_type: str = "page_view") -> dict:
    return {
        "event_id": event_id,
        "user_id": user_id,
        "event_ts": f"{day}T12:00:00Z",
        "event_type": event_type,
        "country": "DE",
    }


def computed_dates(house: House, table, run_ids: list[str]) -> list[dt.date]:
    """The partitions that these runs materialised, as Dagster recorded them."""
    materialized = [
        entry.asset_materialization
        for run_id in run_ids
        for entry in house.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    ]
    return sorted(
        dt.date.fromisoformat(str(found.partition))
        for found in materialized
        if found and found.asset_key == table.asset_key
    )


@pytest.fixture
def moving(
    on_sail: None, house: House, make_house: Callable[..., House], tmp_path: Path, landed: Path
) -> House:
    """A lake of its own, run once, that a test may change."""
    found = make_house(tmp_path)
    shutil.copytree(landed, found.landing)
    found.run()
    return found


def test_every_line_is_an_event_a_quarantined_line_or_an_exact_duplicate(
    house: House, truth: reference.Silver
) -> None:
    landed = house.lake.read(LANDED_EVENTS).count()
    events, quarantined = house.content(EVENTS), house.content(QUARANTINED_EVENTS)

    assert len(events) == len(truth.events)
    assert (
        quarantined["reason"].value_counts().to_dict() == truth.quarantined["reason"].value_counts().to_dict()
    )
    assert landed > len(events) + len(quarantined)
    check = dg.AssetCheckKey(EVENTS.asset_key, "row_conservation")
    summary = house.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)[0]
    assert summary.status.value == "SUCCEEDED"


def test_silver_and_gold_equal_an_independent_calculation(house: House, truth: reference.Silver) -> None:
    events = truth.events

    assert rows(house.content(USERS)) == rows(reference.users(events))
    assert rows(house.content(USER_DAILY_ACTIVITY)) == rows(reference.user_daily_activity(events))
    assert rows(house.content(DAILY_SUMMARY)) == reference.daily_summary(events, ALL_DAYS)
    assert rows(house.content(USER_FEATURES)) == reference.user_features(events, ALL_DAYS)
    assert rows(house.content(CHURN_LABELS)) == sorted(reference.churn_labels(events, LABELLED_DAYS, HORIZON))


def test_every_active_user_of_every_date_has_a_probability(house: House) -> None:
    predictions, features = house.content(CHURN_PREDICTIONS), house.content(USER_FEATURES)

    assert rows(predictions[["user_id", "feature_date"]]) == rows(features[["user_id", "feature_date"]])
    assert predictions["churn_probability"].between(0, 1).all()
    assert (predictions["predicted_churn"] == (predictions["churn_probability"] >= 0.5)).all()


def test_the_scores_are_those_of_the_production_model(house: House) -> None:
    import mlflow

    registry.configure(house.settings)
    version = registry.production_version(house.settings)
    assert version is not None
    model = mlflow.pyfunc.load_model(registry.model_uri(house.settings, version.version))
    features = house.content(USER_FEATURES)
    one_day = features[features["feature_date"] == LAST_DAY]
    scored = house.content(CHURN_PREDICTIONS).set_index(["user_id", "feature_date"])["churn_probability"]

    inputs = one_day.drop(columns=["user_id", "feature_date"]).astype("float64")
    expected = pd.Series(
        model.predict(inputs), index=pd.MultiIndex.from_frame(one_day[["user_id", "feature_date"]])
    )

    assert (scored.reindex(expected.index) - expected).abs().max() < 1e-12


def test_a_second_run_with_nothing_new_writes_nothing(house: House) -> None:
    before = house.versions()

    report = house.run()

    assert house.versions() == before
    assert list(report.computed) == ["raw_catalog.landing.events"]


def test_late_events_recompute_exactly_what_reads_them_and_equal_a_rebuild(
    moving: House, make_house: Callable[..., House], tmp_path: Path
) -> None:
    late_day = FIRST_DAY + 30 * ONE_DAY
    # User 3 has been there before: the late event changes windows, but nobody's first day.
    known = int(moving.content(USERS).query("first_seen_date == @FIRST_DAY")["user_id"].iloc[0])
    scored = moving.content(CHURN_PREDICTIONS)
    land(moving, "late.json", event("late-1", known, late_day))

    report = moving.run()

    assert computed_dates(moving, USER_DAILY_ACTIVITY, report.runs) == [late_day]
    assert computed_dates(moving, DAILY_SUMMARY, report.runs) == [late_day]
    assert computed_dates(moving, USER_FEATURES, report.runs) == list(DateRange(late_day, LAST_DAY).days())
    assert computed_dates(moving, CHURN_LABELS, report.runs) == list(
        DateRange(late_day - HORIZON * ONE_DAY, LABELLED_DAYS[-1]).days()
    )
    assert computed_dates(moving, CHURN_PREDICTIONS, report.runs) == [LAST_DAY]
    past = scored[scored["feature_date"] < LAST_DAY]
    after = moving.content(CHURN_PREDICTIONS)
    assert rows(after[after["feature_date"] < LAST_DAY]) == rows(past)

    rebuilt = make_house(tmp_path / "rebuilt")
    shutil.copytree(moving.landing, rebuilt.landing)
    rebuilt.run()
    for table in TABLES:
        if table is not CHURN_PREDICTIONS:
            assert rows(moving.content(table).fillna("")) == rows(rebuilt.content(table).fillna("")), table


def test_a_late_first_event_makes_a_user_older_on_every_date(moving: House) -> None:
    users = moving.content(USERS)
    newcomer = users[users["first_seen_date"] == FIRST_DAY + 40 * ONE_DAY].iloc[0]
    land(moving, "late.json", event("late-1", int(newcomer["user_id"]), FIRST_DAY))

    moving.run()

    features = moving.content(USER_FEATURES)
    last = features[(features["feature_date"] == LAST_DAY) & (features["user_id"] == newcomer["user_id"])]
    assert last["account_age_days"].tolist() == [DAYS - 1]
    summary = moving.content(DAILY_SUMMARY).set_index("event_date")["new_users"]
    first_days = moving.content(USERS)["first_seen_date"].value_counts()
    assert summary[summary > 0].to_dict() == first_days.to_dict()


def test_one_more_day_computes_one_more_date(moving: House) -> None:
    new_day = LAST_DAY + ONE_DAY
    known = int(moving.content(USERS)["user_id"].iloc[0])
    land(moving, "tomorrow.json", event("new-1", known, new_day))

    report = moving.run()

    assert computed_dates(moving, USER_FEATURES, report.runs) == [new_day]
    assert computed_dates(moving, CHURN_LABELS, report.runs) == [new_day - HORIZON * ONE_DAY]
    assert computed_dates(moving, CHURN_PREDICTIONS, report.runs) == [new_day]
    assert report.covered == DateRange(FIRST_DAY, new_day)


def test_a_death_between_two_tables_is_made_good_by_the_next_run(
    moving: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = int(moving.content(USERS)["user_id"].iloc[0])
    late_day = FIRST_DAY + 45 * ONE_DAY
    land(moving, "late.json", event("late-1", known, late_day), {"event_id": "late-2"})
    write = type(moving.lake).write

    def dies(lake, table, *arguments):
        if table is EVENTS:
            raise RuntimeError("the process died")
        return write(lake, table, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(type(moving.lake), "write", dies)
        with pytest.raises(Exception, match="the process died"):
            moving.run()
    quarantined = len(moving.content(QUARANTINED_EVENTS))

    moving.run()

    assert moving.lake.read(EVENTS).where(F.col("event_id") == "late-1").count() == 1
    assert len(moving.content(QUARANTINED_EVENTS)) == quarantined
    plan = make_plan(moving.lake, moving.instance, NOW)
    assert not any(plan.reasons.values())


def test_a_range_of_dates_touches_no_other_date(
    on_sail: None, make_house: Callable[..., House], tmp_path: Path, landed: Path
) -> None:
    found = make_house(tmp_path)
    shutil.copytree(landed, found.landing)
    wanted = DateRange(FIRST_DAY + 10 * ONE_DAY, FIRST_DAY + 12 * ONE_DAY)

    report = found.run(wanted=wanted)

    assert computed_dates(found, USER_FEATURES, report.runs) == list(wanted.days())
    assert computed_dates(found, CHURN_LABELS, report.runs) == list(wanted.days())
    assert "too few" in report.notes[0]


def test_few_rows_train_no_model_and_the_run_says_so(
    on_sail: None, make_house: Callable[..., House], tmp_path: Path
) -> None:
    found = make_house(tmp_path)
    found.landing.mkdir(parents=True)
    days = [FIRST_DAY + i * ONE_DAY for i in range(20)]
    land(found, "few.json", *(event(f"e{i}", i % 3, day) for i, day in enumerate(days)))

    report = found.run()

    latest = found.instance.get_latest_materialization_event(dg.AssetKey("churn_prediction_model"))
    assert latest is not None
    assert latest.asset_materialization is not None
    assert latest.asset_materialization.metadata["status"].value == "skipped_insufficient_data"
    assert report.notes[0].startswith("Nothing was scored: there is no Production model yet")


def test_bad_events_stop_nothing_and_are_kept_with_their_reason(
    make_house: Callable[..., House], tmp_path: Path
) -> None:
    found = make_house(tmp_path)
    found.landing.mkdir(parents=True)
    good = event("good", 1, FIRST_DAY)
    bad = {
        "corrupt": "{not json",
        "missing_event_id": json.dumps({**good, "event_id": None}),
        "missing_user_id": json.dumps({**good, "event_id": "b", "user_id": ""}),
        "bad_user_id": json.dumps({**good, "event_id": "c", "user_id": "somebody"}),
        "bad_event_ts": json.dumps({**good, "event_id": "d", "event_ts": "last Tuesday"}),
        "future_event_ts": json.dumps({**good, "event_id": "e", "event_ts": "2999-01-01T00:00:00Z"}),
        "conflicting_duplicate": json.dumps({**good, "user_id": 2}),
    }
    (found.landing / "a.json").write_text("\n".join([json.dumps(good), json.dumps(good), *bad.values()]))

    found.run()

    kept = found.content(QUARANTINED_EVENTS)
    assert dict(zip(kept["reason"], kept["_raw"], strict=True)) == bad
    assert found.content(EVENTS)["event_id"].tolist() == ["good"]


def test_an_immature_label_says_when_it_will_be_mature(house: House) -> None:
    job = house.definitions.resolve_implicit_global_asset_job_def()

    with pytest.raises(ImmatureLabelError) as error:
        job.execute_in_process(
            instance=house.instance,
            asset_selection=[CHURN_LABELS.asset_key],
            partition_key=str(LAST_DAY),
            run_config=QUIET,
        )

    assert f"it is complete up to {LAST_DAY}" in str(error.value)
    assert f"{LAST_DAY} can be labelled from {LAST_DAY + (HORIZON + 1) * ONE_DAY} on" in str(error.value)


def test_events_before_the_start_date_say_where_to_start(
    on_sail: None, make_house: Callable[..., House], tmp_path: Path, landed: Path
) -> None:
    found = make_house(tmp_path, start_date=FIRST_DAY + 20 * ONE_DAY)
    shutil.copytree(landed, found.landing)

    with pytest.raises(
        DateRangeError, match=f"Events start on {FIRST_DAY}.*Set CHURN_START_DATE={FIRST_DAY}"
    ):
        found.run()

    assert found.lake.version(USER_DAILY_ACTIVITY) == -1


def test_one_event_of_a_broken_clock_long_before_the_start_stops_nothing(
    on_sail: None, make_house: Callable[..., House], tmp_path: Path
) -> None:
    found = make_house(tmp_path)
    found.landing.mkdir(parents=True)
    land(found, "a.json", event("old", 9, dt.date(1980, 1, 1)), event("new", 1, FIRST_DAY))

    report = found.run()

    assert report.covered == DateRange(FIRST_DAY, FIRST_DAY)


def test_dates_outside_the_data_are_refused(house: House) -> None:
    with pytest.raises(DateRangeError, match=f"Data covers {FIRST_DAY} to {LAST_DAY}, not all of"):
        house.run(wanted=DateRange(LAST_DAY, LAST_DAY + ONE_DAY))


def test_an_empty_landing_zone_leaves_no_table_half_written(
    make_house: Callable[..., House], tmp_path: Path
) -> None:
    found = make_house(tmp_path)
    found.landing.mkdir(parents=True)

    with pytest.raises(LandingError, match="holds no event files"):
        found.run()

    assert found.lake.version(EVENTS) == -1
