"""The landing sensor: when it starts an ingestion, and when it does not."""

import datetime as dt
import os
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData  # what a worker writes its process id in

from churn_assets.asset_keys import asset_key
from churn_assets.assets.bronze import LANDING_EVENTS
from churn_assets.automation.history.dead_runs import GRACE, STARTED_HERE_TAG, fail_dead_runs
from churn_assets.automation.history.run_tags import REASON_TAG, STEP_TAG
from churn_assets.automation.runs.jobs import INGESTED
from churn_assets.automation.triggers.sensors import landing_sensor
from churn_assets.graph import build_defs
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_state import METADATA_NAME, state_of
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS
from churn_assets_tests.automation.log import Log
from churn_assets_tests.conftest import MakeSettings


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings()


@pytest.fixture
def landing(settings: Settings) -> Path:
    folder = Path(settings.landing_root)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def log(instance: dg.DagsterInstance) -> Log:
    return Log(instance)


def tick(log: Log, settings: Settings) -> dg.RunRequest | str:
    """The run that is asked for, or why none is. Each tick is a process of its own: nothing is remembered."""
    result = landing_sensor(settings)(dg.build_sensor_context(instance=log.instance))
    if isinstance(result, dg.SkipReason):
        return result.skip_message or ""
    assert isinstance(result, dg.RunRequest)
    return result


def land(landing: Path, *names: str) -> None:
    for name in names:
        (landing / name).write_text("{}\n")


def took_in(log: Log, settings: Settings, version: str = "1") -> None:
    """An ingestion of all that has landed."""
    log.ingested(version=version, bronze={METADATA_NAME: state_of(list_files(settings.landing_root))})


def test_new_files_start_one_ingestion_of_everything(log: Log, settings: Settings, landing: Path) -> None:
    land(landing, "a.json", "b.json.gz")

    request = tick(log, settings)

    assert isinstance(request, dg.RunRequest)
    assert request.tags[REASON_TAG] == "files have landed"
    assert set(request.asset_selection or []) == set(INGESTED)


def test_what_has_been_taken_in_starts_nothing(log: Log, settings: Settings, landing: Path) -> None:
    land(landing, "a.json", "b.json")
    took_in(log, settings)

    assert tick(log, settings) == "Nothing new among 2 files."

    land(landing, "c.json")
    assert isinstance(tick(log, settings), dg.RunRequest)


@pytest.mark.parametrize("name", [".a.json", "_a.json", "a.json.tmp", "a.csv"])
def test_a_file_that_is_still_being_written_starts_nothing(
    log: Log, settings: Settings, landing: Path, name: str
) -> None:
    land(landing, name)

    assert tick(log, settings) == "Nothing new among 0 files."


def test_the_same_files_are_asked_for_with_the_same_run_key(
    log: Log, settings: Settings, landing: Path
) -> None:
    land(landing, "a.json")
    first, again = tick(log, settings), tick(log, settings)
    land(landing, "b.json")
    more = tick(log, settings)

    assert isinstance(first, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert isinstance(more, dg.RunRequest)
    assert first.run_key == again.run_key != more.run_key


def test_what_has_landed_is_the_landing_zones_data_version(
    log: Log, settings: Settings, landing: Path
) -> None:
    def observed() -> list[str | None]:
        records = log.instance.fetch_observations(LANDING_EVENTS, limit=10).records
        return [(record.asset_observation.tags or {}).get("dagster/data_version") for record in records]  # type: ignore[union-attr]  # an observation has one

    land(landing, "a.json")
    tick(log, settings)
    first = state_of(list_files(settings.landing_root))
    tick(log, settings)
    assert observed() == [first]

    land(landing, "b.json")
    tick(log, settings)
    assert observed() == [state_of(list_files(settings.landing_root)), first]


def test_files_that_land_during_an_ingestion_wait_for_the_next(
    log: Log, settings: Settings, landing: Path
) -> None:
    land(landing, "a.json")
    run = log.instance.add_run(
        dg.DagsterRun("ingest_files", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset(INGESTED))
    )
    for number in range(50):
        land(landing, f"{number}.json")
        assert f"Run {run.run_id[:8]} computes " in str(tick(log, settings))

    log.instance.report_run_canceled(run)

    assert isinstance(tick(log, settings), dg.RunRequest)


def test_an_ingestion_that_died_before_silver_is_finished(
    log: Log, settings: Settings, landing: Path
) -> None:
    land(landing, "a.json")
    took_in(log, settings)
    seen = {METADATA_NAME: state_of(list_files(settings.landing_root))}
    log.wrote(asset_key(LANDED_EVENTS), "2", metadata=seen)

    request = tick(log, settings)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[REASON_TAG] == "an ingestion was not finished"

    log.wrote(asset_key(EVENTS), "2", {LANDED_EVENTS: "2"})
    later = tick(log, settings)
    assert isinstance(later, dg.RunRequest)


def test_an_ingestion_that_fails_is_not_started_again_at_every_tick(
    log: Log, settings: Settings, landing: Path
) -> None:
    land(landing, "a.json")
    run = log.instance.add_run(
        dg.DagsterRun("ingest_files", status=dg.DagsterRunStatus.STARTED, tags={STEP_TAG: "ingest"})
    )
    log.instance.report_run_failed(run, "broken")

    assert str(tick(log, settings)).startswith("ingest failed; the next attempt is at ")


def test_no_landing_zone_is_no_error(log: Log, settings: Settings) -> None:
    assert "does not exist" in str(tick(log, settings))


def test_what_keeps_the_data_fresh_runs_without_being_switched_on(settings: Settings) -> None:
    repository = build_defs(settings).get_repository_def()
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    schedule = next(schedule for schedule in repository.schedule_defs if "pipeline" in schedule.name)

    for name in ("landing_zone", "stale_dates", "automation"):
        assert sensors[name].default_status == dg.DefaultSensorStatus.RUNNING, name
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * *", "UTC")


def test_the_daily_job_has_the_five_steps_in_order(settings: Settings) -> None:
    job = build_defs(settings).resolve_job_def("churn_prediction_pipeline")

    assert [node.name for node in job.nodes_in_topological_order] == [
        "ingest",
        "featurize",
        "train",
        "score",
        "deploy",
    ]


def test_a_worker_that_is_gone_does_not_hold_things_up_for_ever(
    log: Log, settings: Settings, landing: Path
) -> None:
    run = log.instance.add_run(
        dg.DagsterRun("ingest_files", status=dg.DagsterRunStatus.STARTED, tags={STARTED_HERE_TAG: "{}"})
    )
    # The number of no process: Linux gives none above 4,194,304.
    log.instance.report_engine_event("Started process", run, EngineEventData({"pid": "999999999"}))
    now = dt.datetime.now(dt.UTC)

    assert fail_dead_runs(log.instance, now) == []
    assert fail_dead_runs(log.instance, now + 2 * GRACE) == [run.run_id]

    failed = log.instance.get_run_by_id(run.run_id)
    assert failed is not None
    assert failed.status == dg.DagsterRunStatus.FAILURE


def test_a_worker_that_lives_is_left_alone(log: Log) -> None:
    run = log.instance.add_run(
        dg.DagsterRun("ingest_files", status=dg.DagsterRunStatus.STARTED, tags={STARTED_HERE_TAG: "{}"})
    )
    log.instance.report_engine_event("Started process", run, EngineEventData({"pid": str(os.getpid())}))

    assert fail_dead_runs(log.instance, dt.datetime.now(dt.UTC) + 2 * GRACE) == []
