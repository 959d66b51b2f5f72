"""The job in the emulated workspace, with a wheel whose tasks do what a test tells them to."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.service.jobs import JobSettings, PauseStatus

from churn_assets.databricks.workflow import daily_job, tasks
from churn_assets.databricks.workflow.spec import JOB_NAME, job_specification
from churn_assets.databricks.workflow.status import RunStatus, exit_code, report
from churn_assets.databricks.workflow.wheel import Wheel
from churn_assets.errors import SettingsError, WorkspaceError
from churn_assets.settings import Settings
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import LostResponse
from churn_assets_tests.workspace.wheels import make_wheel

LANDING = "/Volumes/raw_catalog/landing/events"

# Each task notes its name; featurize counts what FEATURE_COUNT says, and the one named by FAILS fails. What
# it is told comes with its arguments or, on a cluster, from the environment.
TASK = """
import os
import sys
from pathlib import Path


def main():
    name, *told = sys.argv[1:]
    folder = Path((dict(pair.split("=", 1) for pair in told) or os.environ)["NOTES"])
    with (folder / "tasks").open("a") as notes:
        notes.write(name + "\\n")
    if name == (folder / "fails").read_text():
        raise SystemExit(name + " found no event.")
    if name == "featurize":
        from databricks.sdk.runtime import dbutils

        count = int((folder / "feature_count").read_text())
        dbutils.jobs.taskValues.set(key="feature_count", value=count)
"""


# Sets what the arguments say, reads the scope's secrets, and prints how long the secret is.
SECRET_TASK = """
import os
import sys

class Settings:
    @staticmethod
    def variables():
        return dict.fromkeys(pair.partition("=")[0] for pair in sys.argv[2:])

SECRETS = {"CHURN_ENDPOINT_TOKEN": "endpoint-token"}
TOLD_BESIDES = set()

OWN

def main():
    assert take_settings(sys.argv[2:])
    read_secrets()
    print(len(os.environ["CHURN_ENDPOINT_TOKEN"]))
    if sys.argv[1] == "featurize":
        from databricks.sdk.runtime import dbutils

        dbutils.jobs.taskValues.set(key="feature_count", value=10_000)
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
def settings(make_settings: Callable[..., Settings], request: pytest.FixtureRequest) -> Settings:
    return make_settings(
        landing_root=LANDING,
        alert_emails="oncall@example.com, team@example.com",
        databricks_job_compute=getattr(request, "param", "serverless"),
    )


BOTH = pytest.mark.parametrize("settings", ["serverless", "cluster"], indirect=True)


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


@BOTH
def test_five_tasks_run_one_after_the_other(job: Job, workspace: Workspace) -> None:
    run = job.run(feature_count=10_000)

    assert job.ran == ["ingest", "featurize", "train", "score", "deploy"]
    assert (run.life_cycle, run.result) == ("TERMINATED", "SUCCESS")
    assert set(states(run).values()) == {"SUCCESS"}
    clusters = 1 if job.settings.databricks_job_compute == "cluster" else 0
    assert len(workspace.jobs.runs[run.run_id].job_clusters) == clusters
    assert exit_code(job.status()) == 0


@BOTH
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
        ("ingest", ["ingest", "ingest"]),
        ("featurize", ["ingest", "featurize", "featurize"]),
        ("score", ["ingest", "featurize", "train", "score", "score"]),
    ],
)
def test_no_task_runs_after_one_that_failed_twice(job: Job, fails: str, ran: list[str]) -> None:
    run = job.run(fails=fails)

    assert job.ran == ran
    assert states(run)[fails] == "FAILED"
    assert states(run)["deploy"] == "UPSTREAM_FAILED"
    assert run.reason == f"{fails}: {fails} found no event."


@BOTH
def test_a_failed_run_is_an_alert_and_exit_code_1_until_one_succeeds(job: Job, workspace: Workspace) -> None:
    failed = job.run(fails="train")

    assert job.ran == ["ingest", "featurize", "train", "train"]
    assert (states(failed)["train"], states(failed)["score"]) == ("FAILED", "UPSTREAM_FAILED")
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


def test_a_driver_that_dies_is_no_alert_unless_the_next_one_dies_as_well(
    job: Job, workspace: Workspace
) -> None:
    workspace.faults.kill_driver("featurize")
    once = job.run()
    for _ in range(2):
        workspace.faults.kill_driver("featurize")
    twice = job.run()

    assert (once.result, workspace.emails[0][2]) == ("SUCCESS", twice.run_id)
    assert twice.has_failed
    assert "driver died" in twice.reason


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


def test_a_run_beside_another_waits_for_it(job: Job, workspace: Workspace) -> None:
    (job.notes / "feature_count").write_text("9999")
    (job.notes / "fails").write_text("")
    first = daily_job.run(workspace.client(), job.settings, wait=False)

    second = daily_job.run(workspace.client(), job.settings)

    runs = workspace.jobs.runs
    assert second.result == "SUCCESS"
    assert runs[first.run_id].ended <= min(task.started for task in runs[second.run_id].tasks.values())


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


def test_engineers_may_run_it_and_the_owner_may_change_it(
    workspace: Workspace, make_settings: Callable[..., Settings], wheel: Callable[[str], None]
) -> None:
    names = {"databricks_engineers": "engineers", "databricks_owner": workspace.auth.client_id}

    job_id = daily_job.create(workspace.client(), make_settings(landing_root=LANDING, **names))

    assert workspace.permissions.granted["jobs", str(job_id)] == {
        ("user_name", "engineer@example.com"): "IS_OWNER",
        ("group_name", "engineers"): "CAN_MANAGE_RUN",
        ("service_principal_name", workspace.auth.client_id): "CAN_MANAGE",
    }


def test_whom_it_runs_as_is_kept_until_the_settings_name_another(
    workspace: Workspace, make_settings: Callable[..., Settings], wheel: Callable[[str], None]
) -> None:
    client, principal = workspace.client(), workspace.auth.client_id
    seen = []
    for name in (principal, principal, ""):
        job_id = daily_job.create(client, make_settings(landing_root=LANDING, databricks_run_as=name))
        resets = len(workspace.calls("POST", "/jobs/reset"))
        seen.append((client.jobs.get(job_id).run_as_user_name, resets))

    assert seen == [(principal, 0), (principal, 0), ("engineer@example.com", 1)]


def test_who_is_told_of_a_failure_is_told_of_a_late_run_as_well(
    workspace: Workspace, settings: Settings, wheel: Callable[[str], None]
) -> None:
    job_id = daily_job.create(workspace.client(), settings)

    made = workspace.client().jobs.get(job_id).settings
    assert made
    assert made.email_notifications
    addresses = ["oncall@example.com", "team@example.com"]
    assert made.email_notifications.on_failure == addresses
    assert made.email_notifications.on_duration_warning_threshold_exceeded == addresses
    assert made.health
    assert made.health.as_dict() == {
        "rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 3600}]
    }


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
    spec = JobSettings.from_dict(job_specification(settings, ["-r /Volumes/main_catalog/gold/churn/w.txt"]))
    client.jobs.create(name=JOB_NAME, tasks=spec.tasks, environments=spec.environments)

    with pytest.raises(WorkspaceError, match="There are 2 jobs named churn-prediction-pipeline"):
        daily_job.create(client, settings)


def test_without_a_job_the_command_that_makes_one_is_named(workspace: Workspace, settings: Settings) -> None:
    with pytest.raises(WorkspaceError, match="Create it with: churn workflow create"):
        daily_job.run(workspace.client(), settings)


@pytest.mark.parametrize("compute", ["serverless", "cluster"])
def test_a_secret_reaches_its_task_and_lies_nowhere(
    workspace: Workspace,
    make_settings: Callable[..., Settings],
    wheel: Callable[[str], None],
    compute: str,
) -> None:
    client = workspace.client()
    client.secrets.create_scope("churn")
    client.secrets.put_secret("churn", "endpoint-token", string_value="told-to-the-job")
    settings = make_settings(
        landing_root=LANDING, databricks_secret_scope="churn", databricks_job_compute=compute
    )
    # What the package's own task does with its arguments, and then whether it has the secret.
    source = inspect.getsource(tasks)
    own = source[source.index("def take_settings") : source.index("def require_cluster")]
    wheel(SECRET_TASK.replace("OWN", own))
    job_id = daily_job.create(client, settings)

    run = daily_job.run(client, settings)

    assert {task.logs for task in workspace.jobs.runs[run.run_id].tasks.values() if task.process} == {"15\n"}
    spec = str(client.jobs.get(job_id).as_dict())
    assert ("{{secrets/churn/endpoint-token}}" in spec) == (compute == "cluster")
    for secret in ("told-to-the-job", workspace.token):
        assert secret not in spec
        assert [file for file in staged_files(workspace) if secret.encode() in file.read_bytes()] == []
        assert [
            task.key for task in workspace.jobs.runs[run.run_id].tasks.values() if secret in task.logs
        ] == []


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


def staged_files(workspace: Workspace) -> list[Path]:
    return [file for file in workspace.folder.joinpath("Volumes").rglob("*") if file.is_file()]


def _wheels(settings: Settings) -> str:
    return f"{settings.databricks_volume}/workflow"
