"""The job in the emulated workspace, with a wheel whose tasks do what a test tells them to."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.service.jobs import JobSettings, PauseStatus

from churn_assets.databricks.workflow import daily_job
from churn_assets.databricks.workflow.spec import JOB_NAME, job_specification
from churn_assets.databricks.workflow.status import RunStatus, exit_code, report
from churn_assets.databricks.workflow.wheel import Wheel
from churn_assets.errors import SettingsError, WorkspaceError
from churn_assets.settings import Settings
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import LostResponse
from churn_assets_tests.workspace.wheels import make_wheel

LANDING = "/Volumes/raw_catalog/landing/events"

# Each task notes its name; featurize counts what FEATURE_COUNT says, and the one named by FAILS fails.
TASK = """
import os
import sys
from pathlib import Path


def main():
    name = sys.argv[1]
    with Path(os.environ["NOTES"], "tasks").open("a") as notes:
        notes.write(name + "\\n")
    if name == Path(os.environ["NOTES"], "fails").read_text():
        raise SystemExit(name + " found no event.")
    if name == "featurize":
        from databricks.sdk.runtime import dbutils

        count = int(Path(os.environ["NOTES"], "feature_count").read_text())
        dbutils.jobs.taskValues.set(key="feature_count", value=count)
"""


@dataclasses.dataclass
class Job:
    """The job of a test, created, and what its tasks are told and have noted."""

    workspace: Workspace
    settings: Settings
    notes: Path

    def run(self, feature_count: int = 10_000, fails: str = "") -> RunStatus:
        (self.notes / "tasks").write_text("")
        (self.notes / "feature_count").write_text(str(feature_count))
        (self.notes / "fails").write_text(fails)
        return daily_job.run(self.workspace.client(), self.settings)

    @property
    def ran(self) -> list[str]:
        return (self.notes / "tasks").read_text().split()

    def status(self) -> list[RunStatus]:
        return daily_job.status(self.workspace.client())


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(landing_root=LANDING, alert_emails="oncall@example.com, team@example.com")


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What the package's wheel is for the rest of the test."""

    def use(code: str) -> None:
        made = make_wheel(
            "churn_assets", "0.1.0", {"tasks_of_a_test.py": code}, {"churn-task": "tasks_of_a_test:main"}
        )
        built = Wheel(made.name, made.content, f"digest{len(code)}")
        monkeypatch.setattr(daily_job, "cluster_wheel", lambda: built)

    use(TASK)
    return use


@pytest.fixture
def job(
    workspace: Workspace,
    settings: Settings,
    wheel: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    notes = tmp_path / "notes"
    notes.mkdir()
    as_env = Settings.as_env
    monkeypatch.setattr(Settings, "as_env", lambda self: {**as_env(self), "NOTES": str(notes)})
    daily_job.create(workspace.client(), settings)
    return Job(workspace, settings, notes)


def states(run: RunStatus) -> dict[str, str]:
    return {task.name: task.state for task in run.tasks}


def test_five_tasks_run_one_after_the_other_on_one_cluster(job: Job, workspace: Workspace) -> None:
    run = job.run(feature_count=10_000)

    assert job.ran == ["ingest", "featurize", "train", "score", "deploy"]
    assert (run.life_cycle, run.result) == ("TERMINATED", "SUCCESS")
    assert set(states(run).values()) == {"SUCCESS"}
    assert len(workspace.jobs.runs[run.run_id].job_clusters) == 1
    assert exit_code(job.status()) == 0


def test_with_9999_rows_the_training_is_skipped_and_the_scores_are_not(job: Job) -> None:
    run = job.run(feature_count=9_999)

    assert job.ran == ["ingest", "featurize", "score", "deploy"]
    assert run.result == "SUCCESS"
    assert states(run)["train"] == "skipped_insufficient_data"
    lines = report(job.status())
    assert "train skipped_insufficient_data, score SUCCESS" in lines[0]
    assert lines[1] == "  train: skipped_insufficient_data: 9,999 labelled rows; training takes 10,000"


@pytest.mark.parametrize(
    ("fails", "ran"),
    [
        ("ingest", ["ingest"]),
        ("featurize", ["ingest", "featurize"]),
        ("train", ["ingest", "featurize", "train"]),
        ("score", ["ingest", "featurize", "train", "score"]),
    ],
)
def test_no_task_runs_after_one_that_failed(job: Job, fails: str, ran: list[str]) -> None:
    run = job.run(fails=fails)

    assert job.ran == ran
    assert states(run)[fails] == "FAILED"
    assert states(run)["deploy"] == "UPSTREAM_FAILED"
    assert run.reason == f"{fails}: {fails} found no event."


def test_a_failed_run_is_an_alert_and_exit_code_1_until_one_succeeds(job: Job, workspace: Workspace) -> None:
    failed = job.run(fails="train")

    assert exit_code(job.status()) == 1
    lines = report(job.status())
    assert lines[0].startswith(f"Run {failed.run_id}: INTERNAL_ERROR FAILED ")
    assert lines[1:] == [
        (
            f"ALERT: Pipeline failed - {workspace.url}/?o=1234567890123456#job/"
            f"{workspace.jobs.runs[failed.run_id].job_id}/run/{failed.run_id}"
        ),
        "  train: train found no event.",
    ]
    assert [(event, address) for event, address, _ in workspace.emails] == [
        ("on_failure", "oncall@example.com"),
        ("on_failure", "team@example.com"),
    ]

    job.run()

    assert exit_code(job.status()) == 0
    assert sum(line.startswith("ALERT") for line in report(job.status())) == 1


def test_a_count_that_was_never_told_ends_the_run_before_the_scores(
    job: Job, wheel: Callable[[str], None]
) -> None:
    wheel(TASK.replace('dbutils.jobs.taskValues.set(key="feature_count", value=count)', "print(dbutils)"))
    daily_job.create(job.workspace.client(), job.settings)

    run = job.run()

    assert job.ran == ["ingest", "featurize"]
    assert run.has_failed
    assert run.reason.startswith("enough_rows: Unable to resolve reference {{tasks.featurize.values.")


def test_a_driver_that_dies_is_an_alert(job: Job, workspace: Workspace) -> None:
    workspace.faults.kill_driver("featurize")

    run = job.run()

    assert run.has_failed
    assert "driver died" in run.reason


def test_status_shows_the_last_runs_only_and_the_latest_first(job: Job) -> None:
    started = [job.run(fails="ingest").run_id for _ in range(3)]

    assert [run.run_id for run in daily_job.status(job.workspace.client(), limit=2)] == [
        started[2],
        started[1],
    ]


def test_progress_tells_each_task_once_it_has_ended(job: Job) -> None:
    reported: list[str] = []
    (job.notes / "feature_count").write_text("9999")
    (job.notes / "fails").write_text("")

    daily_job.run(job.workspace.client(), job.settings, progress=reported.append)

    assert [line for line in reported if line.endswith("SUCCESS")] == [
        "ingest: SUCCESS",
        "featurize: SUCCESS",
        "score: SUCCESS",
        "deploy: SUCCESS",
    ]
    assert "train: skipped_insufficient_data: 9,999 labelled rows; training takes 10,000" in reported


def test_who_does_not_wait_gets_the_run_on_its_way(job: Job, workspace: Workspace) -> None:
    (job.notes / "feature_count").write_text("9999")
    (job.notes / "fails").write_text("")

    run = daily_job.run(workspace.client(), job.settings, wait=False)

    assert not run.has_ended
    assert exit_code(job.status()) == 0
    assert workspace.jobs.wait(run.run_id).end is not None


def test_a_run_beside_another_is_skipped_and_no_alert(job: Job, workspace: Workspace) -> None:
    (job.notes / "feature_count").write_text("9999")
    (job.notes / "fails").write_text("")
    first = daily_job.run(workspace.client(), job.settings, wait=False)

    second = daily_job.run(workspace.client(), job.settings)

    assert second.life_cycle == "SKIPPED"
    assert not second.has_failed
    assert workspace.jobs.wait(first.run_id).end is not None


def test_a_lost_answer_to_the_start_leaves_one_run(job: Job, workspace: Workspace) -> None:
    workspace.faults.add("POST", "/jobs/run-now", LostResponse())

    job.run()

    assert len(workspace.jobs.runs) == 1


def test_creating_it_twice_is_one_job_and_one_upload(
    workspace: Workspace, settings: Settings, wheel: Callable[[str], None]
) -> None:
    first = daily_job.create(workspace.client(), settings)
    second = daily_job.create(workspace.client(), settings)

    assert first == second
    assert list(workspace.jobs.jobs) == [first]
    assert (
        len(
            [
                request
                for request in workspace.requests
                if request.path.endswith(".whl") and request.method == "PUT"
            ]
        )
        == 1
    )
    assert workspace.calls("POST", "/jobs/reset") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda job: {"tasks": [task for task in job.tasks if task.task_key != "deploy"]},
        lambda job: {"tasks": [*job.tasks, dataclasses.replace(job.tasks[0], task_key="mine")]},
        lambda job: {"schedule": dataclasses.replace(job.schedule, quartz_cron_expression="0 0 9 * * ?")},
        lambda job: {"schedule": dataclasses.replace(job.schedule, pause_status=PauseStatus.PAUSED)},
    ],
    ids=["a task removed", "a task added", "another hour", "paused"],
)
def test_creating_it_again_makes_it_what_it_should_be(
    workspace: Workspace,
    settings: Settings,
    wheel: Callable[[str], None],
    change: Callable[[JobSettings], dict[str, Any]],
) -> None:
    client = workspace.client()
    job_id = daily_job.create(client, settings)
    made = client.jobs.get(job_id).settings
    assert made
    client.jobs.reset(job_id, dataclasses.replace(made, **change(made)))

    assert daily_job.create(client, settings) == job_id

    assert client.jobs.get(job_id).settings == made


def test_it_runs_at_six_utc_unless_it_is_paused(
    workspace: Workspace, settings: Settings, wheel: Callable[[str], None]
) -> None:
    client = workspace.client()
    schedules = [
        client.jobs.get(daily_job.create(client, settings, paused=paused)).settings
        for paused in (False, True)
    ]

    assert [
        job_settings and job_settings.schedule and job_settings.schedule.as_dict()
        for job_settings in schedules
    ] == [
        {"quartz_cron_expression": "0 0 6 * * ?", "timezone_id": "UTC", "pause_status": status}
        for status in ("UNPAUSED", "PAUSED")
    ]


def test_other_code_is_another_wheel_and_the_one_before_the_last_is_cleared(
    workspace: Workspace, settings: Settings, wheel: Callable[[str], None]
) -> None:
    client = workspace.client()
    kept = []
    for code in (TASK, TASK + "# two", TASK + "# three"):
        wheel(code)
        daily_job.create(client, settings)
        kept.append(
            sorted(entry.name or "" for entry in client.files.list_directory_contents(_wheels(settings)))
        )

    first, second, third = (f"digest{len(TASK) + more}" for more in (0, 5, 7))
    assert kept == [[first], [first, second], [second, third]]


def test_deleting_leaves_neither_job_nor_wheel(
    workspace: Workspace, settings: Settings, wheel: Callable[[str], None]
) -> None:
    client = workspace.client()
    job_id = daily_job.create(client, settings)

    assert daily_job.delete(client, settings) == job_id

    assert workspace.jobs.jobs == {}
    assert not workspace.local(_wheels(settings)).exists()
    assert daily_job.delete(client, settings) is None


def test_two_jobs_of_the_name_are_left_alone(
    workspace: Workspace, settings: Settings, wheel: Callable[[str], None]
) -> None:
    client = workspace.client()
    daily_job.create(client, settings)
    spec = JobSettings.from_dict(
        job_specification(settings, [{"whl": "/Volumes/main_catalog/gold/churn/w.whl"}])
    )
    client.jobs.create(name=JOB_NAME, tasks=spec.tasks, job_clusters=spec.job_clusters)

    with pytest.raises(WorkspaceError, match="There are 2 jobs named churn-prediction-pipeline"):
        daily_job.create(client, settings)


def test_without_a_job_the_command_that_makes_one_is_named(workspace: Workspace, settings: Settings) -> None:
    with pytest.raises(WorkspaceError, match="Create it with: churn workflow create"):
        daily_job.run(workspace.client(), settings)


def test_secrets_reach_the_cluster_by_reference_only(
    workspace: Workspace, make_settings: Callable[..., Settings], wheel: Callable[[str], None]
) -> None:
    client = workspace.client()
    client.secrets.create_scope("churn")
    client.secrets.put_secret("churn", "endpoint-token", string_value="told-to-the-job")
    settings = make_settings(landing_root=LANDING, databricks_secret_scope="churn")

    job_id = daily_job.create(client, settings)

    spec = str(client.jobs.get(job_id).as_dict())
    assert "{{secrets/churn/endpoint-token}}" in spec
    assert workspace.token not in spec
    assert "told-to-the-job" not in spec


def test_a_scope_that_is_not_there_is_named(
    workspace: Workspace, make_settings: Callable[..., Settings], wheel: Callable[[str], None]
) -> None:
    settings = make_settings(landing_root=LANDING, databricks_secret_scope="nowhere")

    with pytest.raises(WorkspaceError, match="CHURN_DATABRICKS_SECRET_SCOPE=nowhere is no scope"):
        daily_job.create(workspace.client(), settings)


def test_a_landing_zone_on_this_machine_is_refused_before_anything_is_made(
    workspace: Workspace, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(landing_root=str(tmp_path))

    with pytest.raises(SettingsError, match="is a folder of this machine, which no cluster sees"):
        daily_job.create(workspace.client(), settings)

    assert workspace.requests == []


def _wheels(settings: Settings) -> str:
    return f"{settings.databricks_volume}/workflow"
