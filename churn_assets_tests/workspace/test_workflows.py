"""Jobs of several tasks: their order, conditions, values, parameters, lists and notices."""

from typing import Any

import pytest
from databricks.sdk.errors import BadRequest, InvalidParameterValue, ResourceDoesNotExist
from databricks.sdk.service.jobs import (
    ConditionTask,
    ConditionTaskOp,
    CronSchedule,
    JobCluster,
    JobEmailNotifications,
    JobParameterDefinition,
    JobSettings,
    JobsHealthMetric,
    JobsHealthOperator,
    JobsHealthRule,
    JobsHealthRules,
    PauseStatus,
    Run,
    RunIf,
    RunLifeCycleState,
    RunResultState,
    RunType,
    Task,
    TaskDependency,
)

from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.tasks import CLUSTER, finished, logs, python_task

SET = "from databricks.sdk.runtime import dbutils; dbutils.jobs.taskValues.set('feature_count', {})"


def _task(workspace: Workspace, key: str, code: str = "print(1)", after: Any = (), **more: Any) -> Task:
    needed = [
        dependency if isinstance(dependency, TaskDependency) else TaskDependency(dependency)
        for dependency in after
    ]
    return Task(
        task_key=key,
        job_cluster_key="main",
        depends_on=needed or None,
        spark_python_task=python_task(workspace, key, code, *more.pop("parameters", [])),
        **more,
    )


def _create(workspace: Workspace, tasks: list[Task], **settings: Any) -> int:
    clusters = [JobCluster("main", CLUSTER)]
    return (
        workspace.client().jobs.create(name="churn", tasks=tasks, job_clusters=clusters, **settings).job_id
        or 0
    )


def _run(workspace: Workspace, tasks: list[Task], **settings: Any) -> Run:
    job_id = _create(workspace, tasks, **settings)
    return finished(workspace, workspace.client().jobs.run_now(job_id).response.run_id)


def _results(run: Run) -> dict[str, str]:
    return {
        task.task_key: task.state.result_state.value
        for task in run.tasks or []
        if task.state and task.state.result_state
    }


def _result(run: Run) -> str:
    assert run.state
    assert run.state.result_state
    return run.state.result_state.value


def test_tasks_run_after_those_they_depend_on_and_share_their_cluster(workspace: Workspace) -> None:
    run = _run(
        workspace,
        [_task(workspace, "b", after=["a"]), _task(workspace, "a"), _task(workspace, "c", after=["b"])],
    )
    assert _results(run) == {"a": "SUCCESS", "b": "SUCCESS", "c": "SUCCESS"}
    by_key = {task.task_key: task for task in run.tasks or []}
    assert (by_key["a"].end_time or 0) <= (by_key["b"].start_time or 0) <= (by_key["c"].start_time or 0)
    assert len({task.cluster_instance.cluster_id for task in by_key.values() if task.cluster_instance}) == 1
    assert workspace.clusters.alive() == []
    assert _result(run) == "SUCCESS"


@pytest.mark.parametrize(("count", "train"), [(9_999, "EXCLUDED"), (10_000, "SUCCESS")])
def test_a_condition_on_a_task_value_decides_whether_training_runs(
    workspace: Workspace, remote_python: Any, count: int, train: str
) -> None:
    workspace.surroundings.python = remote_python
    count_rows = "{{tasks.featurize.values.feature_count}}"
    run = _run(
        workspace,
        [
            _task(workspace, "featurize", SET.format(count)),
            Task(
                task_key="enough",
                depends_on=[TaskDependency("featurize")],
                condition_task=ConditionTask(ConditionTaskOp.GREATER_THAN_OR_EQUAL, count_rows, "10000"),
            ),
            _task(workspace, "train", "print('trained')", [TaskDependency("enough", outcome="true")]),
            _task(
                workspace,
                "score",
                "import sys; print(sys.argv[1])",
                [TaskDependency("enough", outcome="false"), "train"],
                run_if=RunIf.NONE_FAILED,
                parameters=[f"rows={count_rows}"],
            ),
        ],
    )
    assert _results(run) == {"featurize": "SUCCESS", "enough": "SUCCESS", "train": train, "score": "SUCCESS"}
    assert logs(workspace, run, "score") == f"rows={count}\n"
    condition = next(task.condition_task for task in run.tasks or [] if task.task_key == "enough")
    assert condition
    assert (condition.left, condition.outcome) == (str(count), str(count >= 10_000).lower())


@pytest.mark.parametrize("outcome", [None, "yes"])
def test_an_edge_from_a_condition_without_an_outcome_is_refused(
    workspace: Workspace, outcome: str | None
) -> None:
    condition = Task(task_key="if", condition_task=ConditionTask(ConditionTaskOp.EQUAL_TO, "1", "1"))
    with pytest.raises(
        InvalidParameterValue, match='dependency on an if/else condition "if" does not specify an outcome'
    ):
        _create(workspace, [condition, _task(workspace, "a", after=[TaskDependency("if", outcome=outcome)])])
    workspace.violations.clear()


def test_an_outcome_on_any_other_edge_is_refused(workspace: Workspace) -> None:
    after = [TaskDependency("a", outcome="true")]
    with pytest.raises(InvalidParameterValue, match='dependency on a non-if/else condition "a" specifies'):
        _create(workspace, [_task(workspace, "a"), _task(workspace, "b", after=after)])
    workspace.violations.clear()


def test_a_task_between_a_condition_and_what_it_gates_runs_unless_that_failed(workspace: Workspace) -> None:
    found = {}
    for left, code in (("1", "pass"), ("0", "pass"), ("1", "raise ValueError")):
        condition = Task(task_key="if", condition_task=ConditionTask(ConditionTaskOp.EQUAL_TO, left, "1"))
        train = _task(workspace, "train", code, [TaskDependency("if", outcome="true")])
        after: list[Any] = [TaskDependency("if", outcome="false"), "train"]
        run = _run(
            workspace, [condition, train, _task(workspace, "score", after=after, run_if=RunIf.NONE_FAILED)]
        )
        found[left, code] = [_results(run)[key] for key in ("train", "score")]

    assert found == {
        ("1", "pass"): ["SUCCESS", "SUCCESS"],
        ("0", "pass"): ["EXCLUDED", "SUCCESS"],
        ("1", "raise ValueError"): ["FAILED", "UPSTREAM_FAILED"],
    }


def test_a_value_that_nobody_set_is_the_default_or_an_error(workspace: Workspace, remote_python: Any) -> None:
    workspace.surroundings.python = remote_python
    get = "from databricks.sdk.runtime import dbutils; print(dbutils.jobs.taskValues.get('a', 'n'{}))"
    run = _run(
        workspace,
        [_task(workspace, "given", get.format(", default=7")), _task(workspace, "none", get.format(""))],
    )
    assert _results(run) == {"given": "SUCCESS", "none": "FAILED"}
    assert logs(workspace, run, "given") == "7\n"
    assert "No task value found" in logs(workspace, run, "none")


def test_a_task_whose_only_dependency_is_excluded_is_excluded_as_well(workspace: Workspace) -> None:
    never = Task(task_key="never", condition_task=ConditionTask(ConditionTaskOp.EQUAL_TO, "12.0", "12"))
    run = _run(
        workspace,
        [
            never,
            _task(workspace, "train", after=[TaskDependency("never", outcome="true")]),
            _task(workspace, "score", after=["train"], run_if=RunIf.ALL_DONE),
        ],
    )
    assert _results(run) == {"never": "SUCCESS", "train": "EXCLUDED", "score": "EXCLUDED"}
    assert _result(run) == "SUCCESS"


def test_a_failed_leaf_fails_the_run_and_a_failure_that_is_handled_does_not(workspace: Workspace) -> None:
    notify = JobEmailNotifications(on_failure=["ops@example.com"], on_success=["team@example.com"])
    bad = _task(workspace, "bad", "raise ValueError('rows')")
    failed = _run(workspace, [bad, _task(workspace, "after", after=["bad"])], email_notifications=notify)
    assert _result(failed) == "FAILED"
    assert failed.state
    assert failed.state.life_cycle_state == RunLifeCycleState.INTERNAL_ERROR
    assert "Task bad failed with message: Workload failed" in (failed.state.state_message or "")
    assert workspace.emails == [("on_failure", "ops@example.com", failed.run_id)]
    handled = _run(workspace, [bad, _task(workspace, "after", after=["bad"], run_if=RunIf.ALL_DONE)])
    assert _result(handled) == "SUCCESS_WITH_FAILURES"


def test_a_failed_task_is_retried_as_often_as_it_says_and_each_attempt_is_told(workspace: Workspace) -> None:
    code = "from pathlib import Path; import sys; f = Path(sys.argv[1]); n = f.exists(); f.touch(); assert n"
    flag = str(workspace.folder / "was-here")
    good = _task(workspace, "a", code, parameters=[flag], max_retries=1)
    bad = _task(workspace, "b", "raise ValueError", max_retries=2)
    run = _run(workspace, [good, bad])
    attempts = [(task.task_key, task.attempt_number) for task in run.tasks or []]
    assert attempts == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)]
    assert _results(run) == {"a": "SUCCESS", "b": "FAILED"}
    assert len({task.run_id for task in run.tasks or []}) == 5


def test_a_run_that_takes_longer_than_its_rule_is_mailed(workspace: Workspace) -> None:
    slow = [JobsHealthRule(JobsHealthMetric.RUN_DURATION_SECONDS, JobsHealthOperator.GREATER_THAN, 0)]
    notify = JobEmailNotifications(on_duration_warning_threshold_exceeded=["ops@example.com"])
    task = _task(workspace, "a")
    run = _run(workspace, [task], email_notifications=notify, health=JobsHealthRules(slow))
    assert workspace.emails == [("on_duration_warning_threshold_exceeded", "ops@example.com", run.run_id)]


def test_cancelling_a_run_ends_what_runs_and_what_waits(workspace: Workspace) -> None:
    job_id = _create(
        workspace, [_task(workspace, "a", "import time; time.sleep(600)"), _task(workspace, "b", after=["a"])]
    )
    run_id = workspace.client().jobs.run_now(job_id).response.run_id
    workspace.jobs.wait_for_process(run_id)
    workspace.client().jobs.cancel_run(run_id)
    run = finished(workspace, run_id)
    assert _results(run) == {"a": "CANCELED", "b": "CANCELED"}
    assert _result(run) == "CANCELED"
    assert workspace.clusters.alive() == []


def test_a_job_runs_once_at_a_time(workspace: Workspace) -> None:
    jobs = workspace.client().jobs
    job_id = _create(workspace, [_task(workspace, "a", "import time; time.sleep(600)")])
    first = jobs.run_now(job_id, idempotency_token="t").response.run_id
    assert jobs.run_now(job_id, idempotency_token="t").response.run_id == first
    second = finished(workspace, jobs.run_now(job_id).response.run_id)
    assert second.state
    assert second.state.life_cycle_state == RunLifeCycleState.SKIPPED
    jobs.cancel_all_runs(job_id=job_id)
    assert _result(finished(workspace, first)) == "CANCELED"


def test_parameters_of_the_job_and_of_the_run_reach_the_task(workspace: Workspace) -> None:
    echo = "import sys; print(sys.argv[1:])"
    task = _task(workspace, "a", echo, parameters=["{{job.parameters.day}}", "{{job.name}}", "{{task.name}}"])
    job_id = _create(workspace, [task], parameters=[JobParameterDefinition(name="day", default="2026-01-01")])
    jobs = workspace.client().jobs
    default = finished(workspace, jobs.run_now(job_id).response.run_id)
    assert logs(workspace, default, "a").strip() == "['2026-01-01', 'churn', 'a']"
    with_day = finished(workspace, jobs.run_now(job_id, job_parameters={"day": "2026-02-02"}).response.run_id)
    assert logs(workspace, with_day, "a").strip() == "['2026-02-02', 'churn', 'a']"


def test_runs_are_listed_newest_first_page_by_page(workspace: Workspace) -> None:
    jobs = workspace.client().jobs
    job_id = _create(workspace, [_task(workspace, "a")])
    ids = [finished(workspace, jobs.run_now(job_id).response.run_id).run_id for _ in range(3)]
    assert [run.run_id for run in jobs.list_runs(job_id=job_id, limit=2)] == ids[::-1]
    assert len(workspace.calls("GET", "/runs/list")) == 2
    assert list(jobs.list_runs(job_id=job_id, active_only=True)) == []
    assert len(list(jobs.list_runs(run_type=RunType.SUBMIT_RUN))) == 0
    jobs.delete_run(ids[0] or 0)
    assert [run.run_id for run in jobs.list_runs(job_id=job_id)] == ids[:0:-1]


def test_a_job_is_kept_changed_and_deleted(workspace: Workspace) -> None:
    jobs = workspace.client().jobs
    nightly = CronSchedule("0 0 2 * * ?", "UTC", pause_status=PauseStatus.PAUSED)
    job_id = _create(workspace, [_task(workspace, "a")], schedule=nightly, tags={"team": "churn"})
    assert [item.job_id for item in jobs.list(name="CHURN")] == [job_id]
    jobs.update(
        job_id,
        new_settings=JobSettings(tasks=[_task(workspace, "b", after=["a"])]),
        fields_to_remove=["tags"],
    )
    settings = jobs.get(job_id).settings
    assert settings
    assert [item.task_key for item in settings.tasks or []] == ["a", "b"]
    assert (settings.schedule, settings.tags) == (nightly, None)
    jobs.reset(job_id, JobSettings(name="other", tasks=settings.tasks, job_clusters=settings.job_clusters))
    settings = jobs.get(job_id).settings
    assert settings
    assert (settings.name, settings.schedule) == ("other", None)
    jobs.delete(job_id)
    with pytest.raises(ResourceDoesNotExist, match="does not exist"):
        jobs.get(job_id)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depends_on": [TaskDependency("nobody")]}, "which the job does not have"),
        ({"depends_on": [TaskDependency("a")]}, "in a circle"),
        ({"job_cluster_key": "other"}, "not in job_clusters"),
        ({"new_cluster": CLUSTER}, "must be one of"),
        ({"max_retries": -1}, "not emulated"),
        ({"task_key": "a b"}, "letters, digits"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(
    workspace: Workspace, change: dict[str, Any], message: str
) -> None:
    task = _task(workspace, "a")
    for name, value in change.items():
        setattr(task, name, value)
    with pytest.raises(BadRequest, match=message):
        _create(workspace, [task])
    assert [violation for violation in workspace.violations if message in violation]
    workspace.violations.clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"retry_policy": "never"}, "Unknown field 'retry_policy' in /api/2.2/jobs/create"),
        ({"tasks": [{"description": "nameless"}]}, r"Missing required field: task_key in .*tasks\[0\]"),
        ({"tasks": [{"task_key": "a", "on_error": "stop"}]}, "Unknown field 'on_error'"),
        (
            {"tasks": [{"task_key": "a", "python_wheel_task": {"package_name": "ours"}}]},
            "Missing required field: entry_point",
        ),
        ({"job_clusters": [{"job_cluster_key": "main"}]}, "Missing required field: new_cluster"),
        (
            {"job_clusters": [{"job_cluster_key": "main", "new_cluster": {"workers": 1}}]},
            "Unknown field 'workers'",
        ),
        ({"schedule": {"quartz_cron_expression": "0 0 6 * * ?"}}, "Missing required field: timezone_id"),
        ({"tasks": [{"task_key": "a", "libraries": [{"pip": "dagster"}]}]}, "Unknown field 'pip'"),
    ],
)
def test_a_field_that_the_sdk_does_not_know_or_that_it_requires_is_refused(
    workspace: Workspace, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidParameterValue, match=message):
        workspace.client().api_client.do("POST", "/api/2.2/jobs/create", body={"name": "churn", **change})
    workspace.violations.clear()


@pytest.mark.parametrize("reference", ["{{job.mood}}", "{{tasks.later.values.x}}"])
def test_a_reference_that_cannot_have_a_value_is_refused(workspace: Workspace, reference: str) -> None:
    tasks = [_task(workspace, "a", parameters=[reference]), _task(workspace, "later")]
    with pytest.raises(BadRequest, match=r"Unknown reference|refers to a task"):
        _create(workspace, tasks)
    workspace.violations.clear()


def test_the_status_of_a_run_says_the_same_in_newer_words(workspace: Workspace) -> None:
    run = _run(workspace, [_task(workspace, "a")])
    assert run.status
    assert run.status.termination_details
    assert run.status.termination_details.code
    assert run.status.termination_details.type
    assert (run.status.termination_details.code.value, run.status.termination_details.type.value) == (
        "SUCCESS",
        "SUCCESS",
    )
    assert run.state
    assert run.state.result_state == RunResultState.SUCCESS
