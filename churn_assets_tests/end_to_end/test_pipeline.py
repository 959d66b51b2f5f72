"""From files to scores, then again with nothing new, something late, and a death in between."""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.test_utils import freeze_time
from deltalake import DeltaTable
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key
from churn_assets.assets.drift import FEATURE_CHECK
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.runs.runner import QUIET, PipelineReport
from churn_assets.automation.staleness.plan import BY_MODEL, SCORES
from churn_assets.automation.staleness.planning import make_plan
from churn_assets.automation.staleness.retraining import RETRAIN_AFTER
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import DateRangeError, ImmatureLabelError, LandingError
from churn_assets.model.registry import promotions, registry
from churn_assets.status import lake_status
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    DELIVERIES,
    EVENTS,
    FEATURE_COLUMNS,
    FEATURE_DRIFT,
    LANDED_EVENTS,
    MODEL_PROMOTIONS,
    PREDICTION_OUTCOMES,
    QUARANTINED_EVENTS,
    SCORE,
    TABLES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    USERS,
)
from churn_assets.transforms import labels
from churn_assets_tests import reference
from churn_assets_tests.end_to_end.conftest import DAYS, FIRST_DAY, HORIZON, LAST_DAY, NOW, Frame, House
from churn_assets_tests.rows import rounded, rows_of

ALL_DAYS = list(DateRange(FIRST_DAY, LAST_DAY).days())
LABELLED_DAYS = ALL_DAYS[:-HORIZON]


@pytest.fixture(scope="module")
def truth(landed: Path) -> reference.Silver:
    files = {path.name: path.read_text().splitlines() for path in sorted(landed.iterdir())}
    return reference.silver([reference.Ingestion(NOW, files)])


def champions(house: House) -> list[tuple[int, str]]:
    """Who was Production, one after the other, and why."""
    found = house.content(MODEL_PROMOTIONS)
    return list(zip(found["version"], found["cause"], strict=True))


def rows(frame: Frame) -> list[tuple]:
    return sorted(tuple(row) for row in frame.itertuples(index=False))


def with_gaps(frame: Frame) -> list[tuple]:
    """The rows of a table whose columns may be NULL, which pandas calls NaN."""
    as_they_are = frame.astype(object)
    return rounded(rows(as_they_are.where(as_they_are.notna(), None)))


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


def up_to_labels(house: House) -> None:
    """All that a run does before there is a model, which takes it half of its time."""
    for stage in ("ingest", "featurize"):
        Pipeline(house.definitions, house.lake, house.instance, lambda _: None).run_stage(stage, NOW)


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
        if found and found.asset_key == asset_key(table)
    )


@pytest.fixture(scope="module")
def moving(
    deployment: str,
    house: House,
    copy_of: Callable[[House, Path], House],
    tmp_path_factory: pytest.TempPathFactory,
) -> House:
    """A lake that has run once, that one test after the other changes and runs again."""
    if deployment == "spark":
        pytest.skip("what a run computes is the same on either engine, and each takes minutes here")
    return copy_of(house, tmp_path_factory.mktemp("moving"))


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
    check = dg.AssetCheckKey(asset_key(EVENTS), "row_conservation")
    summary = house.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)[0]
    assert summary.status.value == "SUCCEEDED"


def test_silver_and_gold_equal_an_independent_calculation(house: House, truth: reference.Silver) -> None:
    events = truth.events

    assert rows(house.content(USERS)) == rows(reference.users(events))
    assert rows(house.content(USER_DAILY_ACTIVITY)) == rows(reference.user_daily_activity(events))
    assert rows(house.content(DAILY_SUMMARY)) == reference.daily_summary(events, ALL_DAYS)
    months = reference.user_monthly_activity(events, ALL_DAYS)
    assert with_gaps(house.content(USER_MONTHLY_ACTIVITY)) == months
    features = reference.user_features(events, ALL_DAYS)
    assert with_gaps(house.content(USER_FEATURES)) == rounded(features)
    assert rows(house.content(CHURN_LABELS)) == sorted(reference.churn_labels(events, LABELLED_DAYS, HORIZON))
    of_purchases = labels.churn_labels(
        house.lake.read(USER_FEATURES),
        house.lake.read(EVENTS),
        DateRange(LABELLED_DAYS[0], LABELLED_DAYS[-1]),
        HORIZON,
        event_types=["purchase"],
    )
    expected = reference.churn_labels(events, LABELLED_DAYS, HORIZON, ("purchase",))
    assert rows_of(of_purchases) == sorted(expected)


def test_every_table_on_disk_is_as_its_contract_says(house: House) -> None:
    for table in TABLES:
        on_disk = DeltaTable(house.lake.location(table))
        found = [
            (field.name, field.nullable, field.metadata.get("comment")) for field in on_disk.schema().fields
        ]
        assert found == [(column.name, column.nullable, column.comment) for column in table.columns], table
        assert on_disk.metadata().description == table.comment
        assert on_disk.metadata().partition_columns == [table.partition_column] * bool(table.partition_column)


def test_every_active_user_of_every_date_has_a_probability(house: House) -> None:
    predictions, features = house.content(CHURN_PREDICTIONS), house.content(USER_FEATURES)

    assert rows(predictions[["user_id", "feature_date"]]) == rows(features[["user_id", "feature_date"]])
    assert predictions["churn_probability"].between(0, 1, inclusive="neither").all()
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


def test_the_last_materialisation_of_scores_says_what_the_status_says(house: House) -> None:
    event = house.instance.get_latest_materialization_event(asset_key(CHURN_PREDICTIONS))
    assert event is not None
    assert event.asset_materialization is not None
    shown, scores = event.asset_materialization.metadata, lake_status(house.lake).scores
    assert scores is not None

    assert event.asset_materialization.partition == scores.feature_date.isoformat()
    of_day = house.content(CHURN_PREDICTIONS).query("feature_date == @scores.feature_date")
    assert shown["expected_churn"].value == pytest.approx(of_day["churn_probability"].sum())
    assert shown["expected_churn"].value == scores.expected_churn
    assert shown["worth_contacting"].value == scores.worth_contacting > scores.predicted_churn


def test_every_prediction_has_its_three_reasons_and_every_scored_date_its_drift(house: House) -> None:
    predictions, reasons = house.content(CHURN_PREDICTIONS), house.content(CHURN_REASONS)
    keys = [(user, day) for user, day in rows(predictions[["user_id", "feature_date"]])]

    assert rows(reasons[["user_id", "feature_date", "rank"]]) == [
        (*key, rank) for key in keys for rank in (1, 2, 3)
    ]
    drift = house.content(FEATURE_DRIFT)
    compared = [*FEATURE_COLUMNS, SCORE]
    assert rows(drift[["feature_date", "feature"]]) == sorted(
        (day, name) for day in ALL_DAYS for name in compared
    )


def test_every_prediction_with_a_label_has_an_outcome(house: House) -> None:
    on = ["user_id", "feature_date"]
    known = house.content(CHURN_PREDICTIONS).merge(house.content(CHURN_LABELS), on=on)
    outcomes = house.content(PREDICTION_OUTCOMES)

    columns = [*on, "churn_probability", "label", "model_version"]
    assert rows(outcomes[columns]) == rows(known[columns])
    assert set(outcomes["feature_date"]) == set(LABELLED_DAYS)


def test_the_first_champion_is_noted_with_the_run_that_trained_it(house: House) -> None:
    assert champions(house) == [(1, "gate")]
    events = [
        house.instance.get_latest_materialization_event(key)
        for key in (CHURN_PREDICTION_MODEL, asset_key(MODEL_PROMOTIONS))
    ]
    assert len({event and event.run_id for event in events}) == 1


def test_the_training_shows_its_decision_figures_pictures_and_report(house: House) -> None:
    # The first one: modules that share this lake may have trained again, and been refused.
    first = house.instance.fetch_materializations(CHURN_PREDICTION_MODEL, limit=1, ascending=True).records[0]
    assert first.asset_materialization is not None
    shown = first.asset_materialization.metadata

    assert shown["status"].value == "promoted"
    assert isinstance(shown["profit"].value, float)
    pictures = [str(shown[f"{name}_curve"].value) for name in ("roc", "calibration", "profit")]
    assert all("](<data:image/svg+xml," in picture for picture in pictures)
    assert Path(str(shown["report"].value)).read_text().startswith("<!DOCTYPE html>")


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
    for table in (CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT):
        assert computed_dates(moving, table, report.runs) == [LAST_DAY]
    assert computed_dates(moving, PREDICTION_OUTCOMES, report.runs) == computed_dates(
        moving, CHURN_LABELS, report.runs
    )
    past = scored[scored["feature_date"] < LAST_DAY]
    after = moving.content(CHURN_PREDICTIONS)
    assert rows(after[after["feature_date"] < LAST_DAY]) == rows(past)

    rebuilt = make_house(tmp_path / "rebuilt")
    shutil.copytree(moving.landing, rebuilt.landing)
    up_to_labels(rebuilt)
    for table in TABLES:
        if table not in (*BY_MODEL, MODEL_PROMOTIONS, DELIVERIES):
            assert rows(moving.content(table).fillna("")) == rows(rebuilt.content(table).fillna("")), table


def test_a_late_first_event_makes_a_user_older_on_every_date(moving: House) -> None:
    users = moving.content(USERS)
    newcomer = users[users["first_seen_date"] == FIRST_DAY + 40 * ONE_DAY].iloc[0]
    land(moving, "first.json", event("first-1", int(newcomer["user_id"]), FIRST_DAY))

    up_to_labels(moving)

    features = moving.content(USER_FEATURES)
    last = features[(features["feature_date"] == LAST_DAY) & (features["user_id"] == newcomer["user_id"])]
    assert last["account_age_days"].tolist() == [DAYS - 1]
    summary = moving.content(DAILY_SUMMARY).set_index("event_date")["new_users"]
    first_days = moving.content(USERS)["first_seen_date"].value_counts()
    assert summary[summary > 0].to_dict() == first_days.to_dict()


def test_a_death_between_two_tables_is_made_good_by_the_next_run(
    moving: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = int(moving.content(USERS)["user_id"].iloc[0])
    late_day = FIRST_DAY + 45 * ONE_DAY
    land(moving, "death.json", event("death-1", known, late_day), {"event_id": "death-2"})
    write = type(moving.lake).write

    def dies(lake, table, *arguments, **more):
        if table is EVENTS:
            raise RuntimeError("the process died")
        return write(lake, table, *arguments, **more)

    with monkeypatch.context() as broken:
        broken.setattr(type(moving.lake), "write", dies)
        with pytest.raises(Exception, match="the process died"):
            moving.run()
    quarantined = len(moving.content(QUARANTINED_EVENTS))

    moving.run()

    assert moving.lake.read(EVENTS).where(F.col("event_id") == "death-1").count() == 1
    assert len(moving.content(QUARANTINED_EVENTS)) == quarantined
    plan = make_plan(moving.lake, NOW)
    assert not any(plan.reasons.values())


def test_an_alias_that_somebody_moved_is_noted_and_the_last_date_scored_again(
    moving: House,
) -> None:
    registry.configure(moving.settings)
    first = registry.production_version(moving.settings)
    assert first
    assert first.source
    assert first.run_id
    # The same model under another number.
    second = registry.register(moving.settings, first.source, first.run_id)
    registry.promote(moving.settings, str(second.version))

    report = moving.run()

    assert champions(moving)[-2:] == [(int(first.version), "gate"), (int(second.version), "other")]
    assert scored_once_again(moving, report) == int(second.version)
    assert CHURN_PREDICTION_ENDPOINT.path[0] in report.computed
    assert CHURN_PREDICTION_MODEL.path[0] not in report.computed


def test_after_a_rollback_the_last_date_is_scored_and_deployed_and_nothing_else(
    moving: House,
) -> None:
    before, now = (str(version) for version, _ in champions(moving)[-2:])
    promotions.promote(moving.settings, before, cause="rollback", reason="It was better.", replaces=now)

    report = Pipeline(moving.definitions, moving.lake, moving.instance, lambda _: None).follow_the_model()

    assert champions(moving)[-1] == (int(before), "rollback")
    assert scored_once_again(moving, report) == int(before)
    assert set(report.computed) == {
        *(str(table) for table in (MODEL_PROMOTIONS, *SCORES)),
        CHURN_PREDICTION_ENDPOINT.path[0],
    }
    assert report.covered == DateRange(LAST_DAY, LAST_DAY)
    assert not any(make_plan(moving.lake, NOW).reasons.values())


def scored_once_again(house: House, report: PipelineReport) -> int:
    """The version that has scored the last date again, and said what there is to say of it, in one run."""
    followed = (CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT)
    by_run = [[computed_dates(house, table, [run]) for table in followed] for run in report.runs]
    assert [dates for dates in by_run if any(dates)] == [[[LAST_DAY]] * 3]
    versions = set()
    for table in followed:
        content = house.content(table)
        versions |= set(content[content["feature_date"] == LAST_DAY]["model_version"])
    assert len(versions) == 1
    return versions.pop()


def test_one_more_day_computes_one_more_date(moving: House) -> None:
    new_day = LAST_DAY + ONE_DAY
    known = moving.content(USERS)["user_id"]
    land(moving, "tomorrow.json", *(event(f"new-{user}", int(user), new_day) for user in known))

    report = moving.run()

    assert computed_dates(moving, USER_FEATURES, report.runs) == [new_day]
    assert computed_dates(moving, CHURN_LABELS, report.runs) == [new_day - HORIZON * ONE_DAY]
    assert computed_dates(moving, CHURN_PREDICTIONS, report.runs) == [new_day]
    assert computed_dates(moving, PREDICTION_OUTCOMES, report.runs) == [new_day - HORIZON * ONE_DAY]
    assert report.covered == DateRange(FIRST_DAY, new_day)


@pytest.mark.parametrize(("hours", "trains"), [(1, False), (-1, True)])
def test_drift_asks_for_a_training_once_the_last_one_is_old_enough(
    on_sail: None, make_house: Callable[..., House], tmp_path: Path, hours: int, trains: bool
) -> None:
    found = make_house(tmp_path)
    last = dt.datetime.now(dt.UTC) - RETRAIN_AFTER + dt.timedelta(hours=hours)
    with freeze_time(last):
        found.instance.report_runless_asset_event(dg.AssetMaterialization(CHURN_PREDICTION_MODEL))
    found.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=asset_key(FEATURE_DRIFT), check_name=FEATURE_CHECK, passed=False)
    )

    report = Pipeline(found.definitions, found.lake, found.instance, lambda _: None).run_stage("train", NOW)

    assert set(report.computed) == (
        {CHURN_PREDICTION_MODEL.path[0], str(MODEL_PROMOTIONS)} if trains else set()
    )


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
    on_sail: None, make_house: Callable[..., House], tmp_path: Path
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
            asset_selection=[asset_key(CHURN_LABELS)],
            partition_key=str(LAST_DAY),
            run_config=QUIET,
        )

    assert f"it is complete up to {LAST_DAY}" in str(error.value)
    assert f"{LAST_DAY} can be labelled from {LAST_DAY + (HORIZON + 1) * ONE_DAY} on" in str(error.value)


def test_events_before_the_start_date_say_where_to_start(
    on_sail: None, make_house: Callable[..., House], tmp_path: Path
) -> None:
    found = make_house(tmp_path, start_date=FIRST_DAY + 20 * ONE_DAY)
    found.landing.mkdir(parents=True)
    land(found, "a.json", *(event(f"{user}-{day}", user, day) for user in (1, 2, 3) for day in ALL_DAYS[:25]))

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
