"""What a task is told: its arguments with references resolved and paths made real, and its run's context."""

import datetime as dt
import json
from typing import Any

from churn_assets_tests.workspace.auth import WORKSPACE_ID
from churn_assets_tests.workspace.dbfs import VOLUMES
from churn_assets_tests.workspace.references import resolve
from churn_assets_tests.workspace.runs import Run, TaskRun
from churn_assets_tests.workspace.surroundings import Surroundings

REAL_PREFIXES = ("/Volumes/", VOLUMES, "/Workspace/")


class TaskContext:
    """One task of one run, about to start."""

    def __init__(self, surroundings: Surroundings, run: Run, task: TaskRun) -> None:
        self._surroundings = surroundings
        self._run = run
        self._task = task

    def spec(self) -> dict[str, Any]:
        """What driver.py is to do."""
        settings = self._task.settings
        if "spark_python_task" in settings:
            what = settings["spark_python_task"]
            spec: dict[str, Any] = {"file": str(self._surroundings.real_path(what["python_file"]))}
            arguments = what.get("parameters") or []
        else:
            what = settings["python_wheel_task"]
            spec = {"package_name": what["package_name"], "entry_point": what["entry_point"]}
            named = what.get("named_parameters") or {}
            arguments = [
                *(what.get("parameters") or []),
                *(f"--{name}={value}" for name, value in named.items()),
            ]
        return {
            **spec,
            "arguments": [self._real(resolve(argument, self.value)) for argument in arguments],
            "path": self._task.path,
            "context": {
                "host": self._surroundings.url,
                "token": self._surroundings.auth.issue(self._run.run_as),
                "task_key": self._task.key,
                "task_values": str(self._run.folder / "task_values"),
            },
        }

    def _real(self, argument: str) -> str:
        """The argument with the real path in place of the workspace's, behind ``--name=`` as well."""
        name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if value.startswith(REAL_PREFIXES):
            value = str(self._surroundings.real_path(value))
        return f"{name}{equals}{value}"

    def value(self, reference: str) -> Any:
        """What a dynamic value reference stands for; None if it has no value."""
        run, task = self._run, self._task
        scope, _, rest = reference.partition(".")
        if scope == "tasks":
            return self._of_task(*rest.split(".", 1))
        if scope == "job" and rest.startswith("parameters."):
            return run.parameters.get(rest.removeprefix("parameters."))
        started = dt.datetime.fromtimestamp(run.started / 1000, tz=dt.UTC)
        return {
            "job.id": run.job_id,
            "job.run_id": run.run_id,
            "job.name": run.name,
            "job.start_time.iso_date": started.date().isoformat(),
            "job.trigger.type": "one_time",
            "task.name": task.key,
            "task.run_id": task.run_id,
            "task.execution_count": 1,
            "workspace.id": WORKSPACE_ID,
            "workspace.url": self._surroundings.url,
        }.get(reference)

    def _of_task(self, key: str, what: str) -> Any:
        task = self._run.tasks[key]
        if what == "run_id":
            return task.run_id
        if what == "result_state":
            return task.end.result.lower() if task.end else None
        file = self._run.folder / "task_values" / key / f"{what.removeprefix('values.')}.json"
        return json.loads(file.read_text()) if file.exists() else None
