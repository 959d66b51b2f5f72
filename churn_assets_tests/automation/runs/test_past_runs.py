"""The run history as a person asks for it, and which predictions came too late."""

import datetime as dt
from contextlib import ExitStack

import dagster as dg
import pytest
from dagster import AssetMaterialization
from dagster._core.test_utils import freeze_time

from churn_assets.asset_keys import asset_key
from churn_assets.automation.runs.past_runs import SlaMiss, durations, latest_runs, sla_misses
from churn_assets.errors import ModelError
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS
from churn_assets_tests.conftest import MakeSettings

KEY = asset_key(CHURN_PREDICTIONS)
# Predictions are due at 07:00 UTC of the next day.
NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(start_date="2026-01-01", dagster_url="http://dagster.example.com")


def score(instance: dg.DagsterInstance, date: str, at: dt.datetime) -> None:
    with freeze_time(at):
        instance.report_runless_asset_event(AssetMaterialization(KEY, partition=date))


def run(instance: dg.DagsterInstance, error: Exception | None = None) -> str:
    @dg.asset
    def users() -> None:
        if error:
            raise error

    job = dg.Definitions(assets=[users]).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, raise_on_error=False).run_id


def test_the_newest_run_comes_first_and_a_failed_one_says_why(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    worked, broke = run(instance), run(instance, ModelError("No model. Train one."))

    runs = latest_runs(instance, settings, limit=5)

    assert [(run.run_id, run.has_failed) for run in runs] == [(broke, True), (worked, False)]
    assert runs[0].reasons == ["users failed: No model. Train one."]
    assert runs[0].url == f"http://dagster.example.com/runs/{broke}"
    assert runs[1].reasons == []
    assert runs[1].seconds
    assert [run.run_id for run in latest_runs(instance, settings, limit=1)] == [broke]


def test_durations_are_of_the_steps_that_succeeded(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        run(instance)
    run(instance, ModelError("no"))

    steps = durations(instance)

    assert [(step.step, step.runs) for step in steps] == [("users", 3)]
    assert 0 < steps[0].p50 <= steps[0].p95 < 10


def test_percentiles_are_those_of_the_recorded_seconds(instance: dg.DagsterInstance) -> None:
    def run_that_takes(seconds: float) -> None:
        with ExitStack() as clock:
            clock.enter_context(freeze_time(NOW))

            @dg.asset
            def slow() -> None:
                clock.enter_context(freeze_time(NOW + dt.timedelta(seconds=seconds)))

            job = dg.Definitions(assets=[slow]).resolve_implicit_global_asset_job_def()
            job.execute_in_process(instance=instance)

    for seconds in (1, 2, 3, 4, 101):
        run_that_takes(seconds)

    (step,) = durations(instance)
    # The fifth lies 97 s above the fourth, and the 95th percentile four fifths of that way.
    assert (step.step, step.runs) == ("slow", 5)
    assert (step.p50, step.p95) == (pytest.approx(3), pytest.approx(4 + 0.8 * 97))


def test_predictions_after_seven_are_late_and_missing_ones_are_too(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    score(instance, "2026-03-05", dt.datetime(2026, 3, 6, 6, 30, tzinfo=dt.UTC))
    score(instance, "2026-03-06", dt.datetime(2026, 3, 7, 7, 0, 1, tzinfo=dt.UTC))
    score(instance, "2026-03-07", dt.datetime(2026, 3, 8, 6, 59, tzinfo=dt.UTC))
    # Scored again in the afternoon: what counts is when it was there first.
    score(instance, "2026-03-07", dt.datetime(2026, 3, 8, 15, tzinfo=dt.UTC))
    score(instance, "2026-03-08", dt.datetime(2026, 3, 9, 6, tzinfo=dt.UTC))

    misses = sla_misses(instance, settings, NOW)

    due = dt.datetime(2026, 3, 10, 7, tzinfo=dt.UTC)
    assert misses == [
        SlaMiss(dt.date(2026, 3, 9), due, None),
        SlaMiss(
            dt.date(2026, 3, 6),
            dt.datetime(2026, 3, 7, 7, tzinfo=dt.UTC),
            dt.datetime(2026, 3, 7, 7, 0, 1, tzinfo=dt.UTC),
        ),
    ]


def test_what_is_not_due_yet_is_not_late(instance: dg.DagsterInstance, settings: Settings) -> None:
    score(instance, "2026-03-08", dt.datetime(2026, 3, 9, 6, tzinfo=dt.UTC))

    assert sla_misses(instance, settings, NOW.replace(hour=6)) == []


def test_a_history_that_is_filled_in_is_no_miss(instance: dg.DagsterInstance, settings: Settings) -> None:
    for date in ("2026-03-01", "2026-03-08", "2026-03-09"):
        score(instance, date, NOW)

    assert sla_misses(instance, settings, NOW) == []


def test_before_anything_was_scored_nothing_is_late(instance: dg.DagsterInstance, settings: Settings) -> None:
    assert sla_misses(instance, settings, NOW) == []
