"""Runs one task of a run: as a process, on its cluster or serverless; or, if it is a condition, here."""

import functools
import re
import time
from pathlib import Path

from churn_assets_tests.workspace import libraries, serverless_environment
from churn_assets_tests.workspace.cluster import Cluster, now_ms
from churn_assets_tests.workspace.ends import FAILED, SUCCESS, TIMED_OUT, End, infrastructure
from churn_assets_tests.workspace.processes import Process, Runtime
from churn_assets_tests.workspace.references import UnresolvedReferenceError, holds, resolve
from churn_assets_tests.workspace.routing import ApiError
from churn_assets_tests.workspace.runs import Run, TaskRun
from churn_assets_tests.workspace.surroundings import Surroundings
from churn_assets_tests.workspace.task_context import TaskContext

TICK_SECONDS = 0.02
SECRET = re.compile(r"\{\{secrets/([^/{}]+)/([^/{}]+)\}\}")


class ClusterLostError(Exception):
    """The task's cluster cannot be started or ended under it."""


class TaskRunner:
    """Runs tasks of one run.

    Args:
        surroundings: where it runs.
        run: what they belong to.
    """

    def __init__(self, surroundings: Surroundings, run: Run) -> None:
        self._surroundings = surroundings
        self._run = run

    def execute(self, task: TaskRun) -> End:
        """Run the task to its end, and say which."""
        task.started = now_ms()
        try:
            if "condition_task" in task.settings:
                end = self._condition(task)
            else:
                end = self._serverless(task) if task.is_serverless else self._on_cluster(task)
        except UnresolvedReferenceError as error:
            end = infrastructure(str(error), "INVALID_RUN_CONFIGURATION", "CLIENT_ERROR")
        except libraries.LibraryError as error:
            end = infrastructure(str(error), "LIBRARY_INSTALLATION_ERROR", "CLIENT_ERROR")
        except ClusterLostError as error:
            end = infrastructure(str(error), "CLUSTER_ERROR")
        except ApiError as error:
            end = infrastructure(error.message, "INVALID_CLUSTER_REQUEST", "CLIENT_ERROR")
        except Exception as error:  # noqa: BLE001 - a bug of the emulator must fail the test
            self._surroundings.violations.append(f"task {task.key}: the emulator failed with {error!r}")
            end = infrastructure(repr(error), "INTERNAL_ERROR", "INTERNAL_ERROR")
        return task.why if task.cancel.is_set() and end is not SUCCESS else end

    def _condition(self, task: TaskRun) -> End:
        context = TaskContext(self._surroundings, self._run, task)
        condition = task.settings["condition_task"]
        left, right = (resolve(condition[side], context.value) for side in ("left", "right"))
        task.outcome = str(holds(condition["op"], left, right)).lower()
        task.condition = {"left": left, "right": right, "outcome": task.outcome}
        return SUCCESS

    def _on_cluster(self, task: TaskRun) -> End:
        cluster, own = self._cluster(task)
        task.cluster = cluster
        lost = functools.partial(self._lost, task)
        cluster.on_termination.append(lost)
        self._surroundings.clusters.occupy(cluster, 1)
        try:
            self._wait_until_ready(task, cluster)
            for folder in libraries.install(
                task.settings.get("libraries") or [],
                self._surroundings.python,
                cluster.site_packages,
                self._surroundings.real_path,
            ):
                if folder not in cluster.libraries:
                    cluster.libraries.append(folder)
            task.path = cluster.path
            environment = self._environment(cluster)
            return self._process(task, environment) if not task.cancel.is_set() else task.why
        finally:
            if lost in cluster.on_termination:  # from here on its end is no loss
                cluster.on_termination.remove(lost)
            self._surroundings.clusters.occupy(cluster, -1)
            self._linger(task)
            if own:
                self._surroundings.clusters.terminate(cluster, "JOB_FINISHED")

    def _cluster(self, task: TaskRun) -> tuple[Cluster, bool]:
        """The task's cluster, and whether it ends with the task."""
        clusters, settings = self._surroundings.clusters, task.settings
        if "new_cluster" in settings:
            return clusters.launch(settings["new_cluster"], "JOB", self._run.creator), True
        if "existing_cluster_id" in settings:
            try:
                cluster = clusters.get(settings["existing_cluster_id"])
            except ApiError as error:
                raise ClusterLostError(error.message) from error
            clusters.start_again(cluster)
            return cluster, False
        key = settings["job_cluster_key"]
        with self._run.changed:
            if key not in self._run.job_clusters:
                spec = next(
                    job_cluster["new_cluster"]
                    for job_cluster in self._run.settings["job_clusters"]
                    if job_cluster["job_cluster_key"] == key
                )
                self._run.job_clusters[key] = clusters.launch(spec, "JOB", self._run.creator)
            return self._run.job_clusters[key], False

    def _wait_until_ready(self, task: TaskRun, cluster: Cluster) -> None:
        while cluster.state != "RUNNING":
            if cluster.terminated:
                raise ClusterLostError(
                    f"Cluster {cluster.cluster_id} was terminated while the run was pending."
                )
            if task.cancel.wait(TICK_SECONDS):
                return

    def _lost(self, task: TaskRun) -> None:
        if task.end is None and task.cluster:
            message = f"Cluster {task.cluster.cluster_id} became unusable during the run: it was terminated."
            task.stop(infrastructure(message, "CLUSTER_ERROR"))

    def _serverless(self, task: TaskRun) -> End:
        """Run in an environment: its dependencies, who the job runs as, and no variable of anybody's."""
        key = task.settings["environment_key"]
        spec = next(
            environment["spec"]
            for environment in self._run.settings["environments"]
            if environment["environment_key"] == key
        )
        if task.cancel.wait(self._surroundings.faults.cluster_start_seconds):
            return task.why
        # Each task has its own, so that none sees what another did to it.
        target = task.folder / "site-packages"
        folders = serverless_environment.install(
            spec.get("dependencies") or [],
            self._surroundings.python,
            target,
            self._surroundings.real_path,
        )
        task.path = [str(folder) for folder in folders]
        home = task.folder / "home"
        home.mkdir()
        try:
            version = spec["environment_version"]
            environment = {
                **self._plain(home),
                # As MLflow's databricks_utils.py reads them.
                "DATABRICKS_RUNTIME_VERSION": f"client.{version}.12",
                "DATABRICKS_ENV_VERSION": version,
                "IS_SERVERLESS": "TRUE",
            }
            return self._process(task, environment) if not task.cancel.is_set() else task.why
        finally:
            self._linger(task)

    def _process(self, task: TaskRun, environment: dict[str, str]) -> End:
        context = TaskContext(self._surroundings, self._run, task)
        spec = context.spec()
        runtime: Runtime = self._surroundings.runtime(task.cluster)
        # What a cluster's variables say is said last.
        variables = {**runtime.environment, **environment}
        process = Process(self._surroundings.python, task.folder, spec, variables, runtime)
        death = self._surroundings.faults.take_death(task.key)
        with self._run.changed:
            task.process = process
            task.executing = now_ms()
            task.phase = "RUNNING" if not task.cancel.is_set() else "TERMINATING"
            self._run.phase = "RUNNING" if self._run.phase == "PENDING" else self._run.phase
        limit = task.settings.get("timeout_seconds") or 0
        started = time.monotonic()
        while (code := process.wait(TICK_SECONDS)) is None:
            after = time.monotonic() - started
            if limit and after > limit:
                task.stop(TIMED_OUT)
            if task.cancel.is_set() or (death and after >= death.seconds):
                process.kill()
        process.kill()  # what it left behind
        if task.cluster:
            self._deliver_logs(process, task.cluster)
        task.error = process.error()
        if code == 0:
            return SUCCESS
        if task.error:
            return FAILED
        if code > 0:
            task.error = {"error": f"The Python process exited with exit code {code}.", "error_trace": ""}
            return FAILED
        where = f"Cluster '{task.cluster.cluster_id}'" if task.cluster else "Serverless compute"
        return infrastructure(
            f"{where} became unusable during the run since the driver died (signal {-code})."
        )

    def _plain(self, home: Path) -> dict[str, str]:
        return {
            "PATH": f"{self._surroundings.python.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
        }

    def _environment(self, cluster: Cluster) -> dict[str, str]:
        home = cluster.folder / "home"
        home.mkdir(exist_ok=True)
        own = {
            name: self._with_secrets(value)
            for name, value in (cluster.spec.get("spark_env_vars") or {}).items()
        }
        return {
            **self._plain(home),
            "DATABRICKS_RUNTIME_VERSION": cluster.spec["spark_version"].split(".x-")[0],
            "DB_IS_DRIVER": "TRUE",
            "DB_CLUSTER_ID": cluster.cluster_id,
            "CHURN_EMULATED_ROOT": str(self._surroundings.folder),
            **own,
        }

    def _with_secrets(self, value: str) -> str:
        reference = SECRET.fullmatch(value)
        return self._surroundings.secrets.text(reference[1], reference[2]) if reference else value

    def _deliver_logs(self, process: Process, cluster: Cluster) -> None:
        where = cluster.spec.get("cluster_log_conf") or {}
        for destination in where.values():
            target = self._surroundings.real_path(destination["destination"]) / cluster.cluster_id / "driver"
            target.mkdir(parents=True, exist_ok=True)
            for source in (process.stdout, process.stderr):
                (target / source.name).write_bytes(source.read_bytes())

    def _linger(self, task: TaskRun) -> None:
        seconds = self._surroundings.faults.termination_seconds
        if seconds:
            task.phase = "TERMINATING"
            time.sleep(seconds)
