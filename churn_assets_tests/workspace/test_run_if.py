"""Which tasks run after which ends of their dependencies, as Databricks documents it."""

from pathlib import Path

import pytest

from churn_assets_tests.workspace.ends import CANCELED, EXCLUDED, FAILED, SUCCESS, End
from churn_assets_tests.workspace.run_if import outcome, verdict
from churn_assets_tests.workspace.runs import Run, TaskRun


def _run(run_if: str, *ends: End) -> tuple[Run, TaskRun]:
    """A run whose task ``last`` depends on tasks with these ends."""
    needed = [
        TaskRun(number, {"task_key": f"t{number}"}, Path(), end=end)
        for number, end in enumerate(ends, start=1)
    ]
    depends_on = [{"task_key": task.key} for task in needed]
    last = TaskRun(0, {"task_key": "last", "depends_on": depends_on, "run_if": run_if}, Path())
    tasks = {task.key: task for task in (*needed, last)}
    return Run(99, 9, "run", "JOB_RUN", {}, "me", Path(), tasks), last


@pytest.mark.parametrize(
    ("run_if", "one_failed", "all_failed", "none_failed", "one_excluded"),
    [
        ("ALL_SUCCESS", "UPSTREAM_FAILED", "UPSTREAM_FAILED", "runs", "runs"),
        ("AT_LEAST_ONE_SUCCESS", "runs", "UPSTREAM_FAILED", "runs", "runs"),
        ("NONE_FAILED", "UPSTREAM_FAILED", "UPSTREAM_FAILED", "runs", "runs"),
        ("ALL_DONE", "runs", "runs", "runs", "runs"),
        ("AT_LEAST_ONE_FAILED", "runs", "runs", "EXCLUDED", "EXCLUDED"),
        ("ALL_FAILED", "EXCLUDED", "runs", "EXCLUDED", "EXCLUDED"),
    ],
)
def test_run_if_looks_at_all_dependencies(
    run_if: str, one_failed: str, all_failed: str, none_failed: str, one_excluded: str
) -> None:
    cases = {
        (FAILED, SUCCESS): one_failed,
        (FAILED, FAILED): all_failed,
        (SUCCESS, SUCCESS): none_failed,
        (EXCLUDED, SUCCESS): one_excluded,
        (EXCLUDED, EXCLUDED): "EXCLUDED",
    }
    for ends, expected in cases.items():
        end = verdict(*_run(run_if, *ends))
        assert (end.result if end else "runs") == expected, ends


def test_a_cancelled_dependency_is_told_apart_from_a_failed_one() -> None:
    end = verdict(*_run("ALL_SUCCESS", CANCELED, SUCCESS))
    assert end
    assert end.result == "UPSTREAM_CANCELED"


@pytest.mark.parametrize(
    ("first", "last", "whole"),
    [
        (SUCCESS, SUCCESS, "SUCCESS"),
        (FAILED, SUCCESS, "SUCCESS_WITH_FAILURES"),
        (SUCCESS, FAILED, "FAILED"),
        (SUCCESS, EXCLUDED, "SUCCESS"),
    ],
)
def test_a_run_is_what_its_leaves_are(first: End, last: End, whole: str) -> None:
    run, task = _run("ALL_DONE", first)
    task.end = last
    assert outcome(run).result == whole
