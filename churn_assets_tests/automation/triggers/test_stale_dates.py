"""One tick over a history written by hand: which runs it asks for, and when it asks for none."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.run_tags import RANGE_END_TAG, RANGE_START_TAG, STEP_TAG
from churn_assets.automation.triggers import stale_dates
from churn_assets.automation.triggers.stale_dates import decide, tick
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    EVENTS,
    FEATURE_DRIFT,
    RETENTION_LIST,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    Table,
)
from churn_assets_tests.automation.log import Log
from churn_assets_tests.conftest import MakeSettings

START = dt.date(2026, 1, 1)
DATES = DateRange(START, dt.date(2026, 1, 12))
HORIZON = 3
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
OF_AN_EVENT = "user_daily_activity, daily_summary, user_monthly_activity"
OF_A_DAY = f"{OF_AN_EVENT}, user_features"
SCORES = "churn_predictions, churn_reasons, feature_drift, retention_list"


def day(number: int) -> dt.date:
    """The so-manieth day of the data, from 1."""
    return START + (number - 1) * ONE_DAY


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(start_date=START, horizon_days=HORIZON)


@pytest.fixture
def log(instance: dg.DagsterInstance, settings: Settings) -> Log:
    """Twelve days, all computed."""
    history = Log(instance, settings)
    history.ingested(DATES.days())
    history.computed_all(DATES, HORIZON)
    return history


def requested(log: Log, settings: Settings, now: dt.datetime = NOW) -> list[tuple[str, dt.date, dt.date]]:
    """What a tick asks for: tables, first date, last date."""
    result = decide(lambda: log.ledger, log.instance, settings, now)
    if isinstance(result, dg.SkipReason):
        return []
    return [
        (
            request.tags[STEP_TAG],
            dt.date.fromisoformat(request.tags[RANGE_START_TAG]),
            dt.date.fromisoformat(request.tags[RANGE_END_TAG]),
        )
        for request in result.run_requests or []
    ]


def skipped(log: Log, settings: Settings, now: dt.datetime = NOW) -> str:
    result = decide(lambda: log.ledger, log.instance, settings, now)
    assert isinstance(result, dg.SkipReason), result
    return result.skip_message or ""


def run_of(log: Log, status: dg.DagsterRunStatus, **more) -> dg.DagsterRun:
    keys = more.pop("keys", frozenset({asset_key(USER_FEATURES)}))
    return log.instance.add_run(dg.DagsterRun("job", status=status, asset_selection=keys, **more))


def test_where_all_was_current_the_ledger_is_asked_again_only_once_something_has_happened(
    log: Log, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On Databricks each look wakes a SQL warehouse.
    looks: list[None] = []
    monkeypatch.setattr(stale_dates, "lakehouse", lambda _: None)
    monkeypatch.setattr(stale_dates, "read_ledger", lambda _: looks.append(None) or log.ledger)
    context = dg.build_sensor_context(instance=log.instance)

    def looks_of_tick(settings: Settings = settings, now: dt.datetime = NOW) -> int:
        before = len(looks)
        tick(context, settings, now)
        return len(looks) - before

    assert [looks_of_tick(), looks_of_tick()] == [1, 0]
    assert looks_of_tick(now=NOW + dt.timedelta(hours=1)) == 1
    assert looks_of_tick(settings.model_copy(update={"horizon_days": HORIZON + 1})) == 1
    log.ingested([day(3)])
    # Runs that it has requested are no state to be content with.
    assert [looks_of_tick(), looks_of_tick()] == [1, 1]


def test_before_the_first_ingestion_there_is_nothing_to_do(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    assert skipped(Log(instance, settings), settings) == "Nothing has been taken in yet."


def test_where_all_is_current_nothing_runs(log: Log, settings: Settings) -> None:
    assert skipped(log, settings) == "All dates of 2026-01-01 to 2026-01-12 are current."


def test_a_first_ingestion_is_one_run_of_the_tables_that_share_their_dates(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    log = Log(instance, settings)
    log.ingested(DATES.days())

    assert requested(log, settings) == [(OF_A_DAY, START, DATES.end)]


def test_late_events_of_two_days_are_two_runs_and_what_reads_them_waits(log: Log, settings: Settings) -> None:
    log.ingested([day(2), day(8)], "2")

    assert requested(log, settings) == [(OF_AN_EVENT, day(2), day(2)), (OF_AN_EVENT, day(8), day(8))]


def test_what_reads_them_follows_when_they_are_there(log: Log, settings: Settings) -> None:
    log.ingested([day(8)], "2")
    log.computed(USER_DAILY_ACTIVITY, [day(8)])
    for table in (DAILY_SUMMARY, USER_MONTHLY_ACTIVITY):
        log.computed(table, [day(8)])

    assert requested(log, settings) == [("user_features", day(8), day(12))]

    log.computed(USER_FEATURES, [day(number) for number in range(8, 13)])
    assert requested(log, settings) == [
        ("churn_labels", day(5), day(9)),
        (SCORES, day(12), day(12)),
    ]

    log.computed(CHURN_LABELS, [day(number) for number in range(5, 10)])
    for table in (CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST):
        log.computed(table, [day(12)])
    assert requested(log, settings) == [("prediction_outcomes", day(5), day(9))]


def test_a_date_that_somebody_scored_again_gets_new_reasons_drift_and_outcomes_in_one_run(
    log: Log, settings: Settings
) -> None:
    log.computed(CHURN_PREDICTIONS, [day(3)])

    assert requested(log, settings) == [
        ("churn_reasons, feature_drift, prediction_outcomes", day(3), day(3)),
    ]


@pytest.mark.parametrize("is_lost", [False, True], ids=["there was nothing to write", "moved away"])
def test_an_empty_table_is_computed_again_only_if_it_was_moved_away(
    log: Log, settings: Settings, is_lost: bool
) -> None:
    # A model that somebody registered by hand left nothing that its dates could be compared with.
    log.note(FEATURE_DRIFT, DATES.days(), rows=0)
    if is_lost:
        log.moved_away(FEATURE_DRIFT)

    assert requested(log, settings) == ([("feature_drift", START, DATES.end)] if is_lost else [])


@pytest.mark.parametrize("lost", [CHURN_REASONS, FEATURE_DRIFT], ids=lambda table: table.name)
def test_what_is_said_of_scores_waits_for_them(log: Log, settings: Settings, lost: Table) -> None:
    # The table was lost, and the last date's features have changed.
    log.moved_away(lost)
    log.computed(USER_FEATURES, [day(12)])

    waves = [requested(log, settings)]
    log.computed(CHURN_PREDICTIONS, [day(12)])
    waves.append(requested(log, settings))

    assert not any(lost.name in wave[0] for wave in waves[0])
    assert (lost.name, day(1), day(12)) in waves[1]


def test_a_date_without_a_label_has_no_outcome(log: Log, settings: Settings) -> None:
    log.computed(CHURN_PREDICTIONS, [day(10)])

    assert requested(log, settings) == [("churn_reasons, feature_drift", day(10), day(10))]


def test_a_date_that_was_never_scored_has_nothing_that_follows_scores(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    log = Log(instance, settings)
    log.ingested(DATES.days())
    for table in (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_MONTHLY_ACTIVITY, USER_FEATURES):
        log.computed(table, DATES.days())
    log.computed(CHURN_LABELS, [day(number) for number in range(1, 10)])
    log.scored([day(4)], "1")

    # Somebody has removed the alias: nothing is scored, and what was is followed.
    log.trained("none")

    assert requested(log, settings) == [
        ("churn_reasons, feature_drift, prediction_outcomes", day(4), day(4)),
    ]


def test_after_a_promotion_the_last_date_is_scored_again_and_earlier_ones_are_not(
    log: Log, settings: Settings
) -> None:
    log.scored([day(11), day(12)], "1")
    for table in (CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST):
        log.computed(table, [day(11), day(12)])
    log.trained("1")
    assert requested(log, settings) == []

    log.trained("2")

    assert requested(log, settings) == [(SCORES, day(12), day(12))]

    log.scored([day(12)], "2")
    for table in (CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST):
        log.computed(table, [day(12)])
    assert requested(log, settings) == []


def test_only_the_last_date_has_a_list_that_nobody_asked_for(log: Log, settings: Settings) -> None:
    log.moved_away(RETENTION_LIST)

    assert requested(log, settings) == [("retention_list", day(12), day(12))]

    log.computed(RETENTION_LIST, [day(12)])
    log.computed(CHURN_PREDICTIONS, [day(3)])
    assert not any("retention_list" in name for name, *_ in requested(log, settings))


def test_after_a_rollback_the_last_date_is_scored_again(log: Log, settings: Settings) -> None:
    log.trained("2")
    log.scored([day(12)], "2")
    for table in (CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST):
        log.computed(table, [day(12)])

    log.noted("1")

    assert requested(log, settings) == [(SCORES, day(12), day(12))]


def test_scores_of_a_version_that_the_log_does_not_know_yet_are_left_alone(
    log: Log, settings: Settings
) -> None:
    # The alias was moved in the registry, and the date scored since: the log learns of the move later.
    log.scored([day(12)], "3")
    for table in (CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST):
        log.computed(table, [day(12)])

    assert requested(log, settings) == []


def test_a_run_that_read_silver_before_the_late_events_came_is_not_enough(
    log: Log, settings: Settings
) -> None:
    before = log.number
    log.ingested([day(9)], "2")
    # It began before the last events came, and ended after the users were counted.
    log.computed(USER_DAILY_ACTIVITY, [day(9)], read=before)

    assert requested(log, settings)[0] == (OF_AN_EVENT, day(9), day(9))


def test_an_account_age_that_changed_recomputes_features_alone(log: Log, settings: Settings) -> None:
    log.ingested([], "2", arrivals=[day(2)], other_ages=[day(11)])

    # Who was active on the 11th is in the features of the 12th, too.
    assert requested(log, settings) == [
        ("daily_summary", day(2), day(2)),
        ("user_features", day(11), day(12)),
    ]


def test_a_day_that_is_over_since_midnight_is_computed_without_new_files(
    log: Log, settings: Settings
) -> None:
    today = DATES.end + ONE_DAY
    log.ingested([today], "2")
    evening = dt.datetime.combine(today, dt.time(23), dt.UTC)

    assert requested(log, settings, evening) == []
    assert requested(log, settings, evening + dt.timedelta(hours=2)) == [(OF_A_DAY, today, today)]


def test_without_a_production_model_nothing_is_scored(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    log = Log(instance, settings)
    log.ingested(DATES.days())
    log.computed_all(DATES, HORIZON)
    log.trained("none")
    log.computed(USER_FEATURES, [DATES.end])

    assert requested(log, settings) == []


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_while_a_run_of_these_tables_is_at_hand_no_other_starts(
    log: Log, settings: Settings, status: str
) -> None:
    log.ingested([day(9)], "2")
    run = run_of(log, dg.DagsterRunStatus(status))

    assert skipped(log, settings) == f"Run {run.run_id[:8]} computes user_features."


def test_runs_of_other_assets_are_nobodys_business(log: Log, settings: Settings) -> None:
    log.ingested([day(9)], "2")
    run_of(log, dg.DagsterRunStatus.STARTED, keys=frozenset({asset_key(EVENTS)}))

    assert len(requested(log, settings)) == 1


@pytest.mark.parametrize(("job", "waits"), [("churn_prediction_pipeline", True), ("endpoint_parity", False)])
def test_of_whole_jobs_only_those_that_compute_tables_are_waited_for(
    log: Log, settings: Settings, job: str, waits: bool
) -> None:
    log.ingested([day(9)], "2")
    log.instance.add_run(dg.DagsterRun(job, status=dg.DagsterRunStatus.STARTED))

    assert (requested(log, settings) == []) is waits


def test_churn_run_is_left_alone(log: Log, settings: Settings) -> None:
    log.ingested([day(9)], "2")
    locks = Path(settings.lake_root / ".locks")
    locks.mkdir(parents=True)

    with FileLock(locks / "churn-run.lock"):
        assert skipped(log, settings) == "A churn run is at work on this lake."

    assert len(requested(log, settings)) == 1


def test_the_same_world_asks_with_the_same_run_key(log: Log, settings: Settings) -> None:
    log.ingested([day(9)], "2")
    first, again = (
        decide(lambda: log.ledger, log.instance, settings, NOW),
        decide(lambda: log.ledger, log.instance, settings, NOW),
    )
    assert isinstance(first, dg.SensorResult)
    assert isinstance(again, dg.SensorResult)
    keys = [request.run_key for request in first.run_requests or []]
    assert keys == [request.run_key for request in again.run_requests or []]

    log.ingested([day(9)], "3")

    later = decide(lambda: log.ledger, log.instance, settings, NOW)
    assert isinstance(later, dg.SensorResult)
    assert keys != [request.run_key for request in later.run_requests or []]


def test_after_a_failure_a_step_waits_longer_and_longer(log: Log, settings: Settings) -> None:
    log.ingested([day(9)], "2")
    now = dt.datetime.now(dt.UTC)
    tags = {STEP_TAG: OF_AN_EVENT}

    waits = []
    for _ in range(3):
        run = run_of(log, dg.DagsterRunStatus.STARTED, tags=tags)
        log.instance.report_run_failed(run, "broken")
        minute = next(
            minutes for minutes in range(60) if requested(log, settings, now + dt.timedelta(minutes=minutes))
        )
        waits.append(minute)

    # Five minutes, ten, twenty; a run ends some milliseconds after the clock was read.
    assert waits == [6, 11, 21]
    assert f"{OF_AN_EVENT} failed; the next attempt is at" in skipped(log, settings, now)


def test_a_success_ends_the_waiting(log: Log, settings: Settings) -> None:
    log.ingested([day(9)], "2")
    tags = {STEP_TAG: OF_AN_EVENT}
    failed = run_of(log, dg.DagsterRunStatus.STARTED, tags=tags)
    log.instance.report_run_failed(failed, "broken")
    now = dt.datetime.now(dt.UTC)
    assert requested(log, settings, now) == []

    run_of(log, dg.DagsterRunStatus.SUCCESS, tags=tags)

    assert len(requested(log, settings, now)) == 1
