"""The pipeline as a Databricks job without Dagster's daemon: create, run, inspect and delete it."""

import dataclasses
import datetime as dt
import hashlib
import itertools
import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.jobs import JobAccessControlRequest, JobSettings

from churn_assets.databricks.client import patiently
from churn_assets.databricks.compute.libraries import FILE, cluster_requirements
from churn_assets.databricks.compute.secret_scope import scope_keys
from churn_assets.databricks.staging import VolumeFolder, workflow_staging
from churn_assets.databricks.workflow.job_compute import Installs
from churn_assets.databricks.workflow.people import permissions
from churn_assets.databricks.workflow.spec import JOB_NAME, job_specification, require_job_settings
from churn_assets.databricks.workflow.status import RunStatus, in_one_line, read_run
from churn_assets.databricks.workflow.wheel import Wheel, cluster_wheel
from churn_assets.errors import WorkspaceError, one_line
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import Job

# What an environment installs, the wheel included; a cluster's file is without.
ENVIRONMENT_FILE = "environment.txt"

# Receives what happens, one line at a time.
Progress = Callable[[str], None]

# What the service does not tell again: see ``_runs_as``.
WRITE_ONLY = {"run_as"}
# By what the items of the job's lists are known.
KEYS = ("task_key", "job_cluster_key", "environment_key")

log = logging.getLogger(__name__)


def create(client: "WorkspaceClient", settings: Settings, *, paused: bool = False) -> int:
    """Create the job, or update the existing one to the current specification.

    The wheel is staged under the digest of its content, which is that of its requirements as well, so
    unchanged code is uploaded once; what earlier versions of the job used is cleared away.

    Args:
        client: of the workspace.
        settings: of a ``databricks`` deployment.
        paused: whether the schedule is paused.

    Returns:
        The job's id.

    Raises:
        SettingsError: no job can be made from the settings.
        WorkspaceError: the workspace refuses it, or has several jobs of the name.
    """
    require_job_settings(settings)
    job = _find(client)
    store = workflow_staging(settings, client)
    wheel = cluster_wheel()
    installs = _stage(store, wheel, settings)
    specification = job_specification(settings, installs, scope_keys(client, settings), paused=paused)
    before = job.settings.as_dict() if job and job.settings else {}
    if job and job.job_id and covers(before, specification) and _runs_as(job, settings):
        _give(client, settings, job.job_id)
        return job.job_id
    job_settings = JobSettings.from_dict(specification)
    try:
        if job and job.job_id:
            job_id = job.job_id
            patiently(lambda: client.jobs.reset(job_id, job_settings))
        else:
            fields = {name: getattr(job_settings, name) for name in specification}
            job_id = client.jobs.create(**fields).job_id or 0
    except DatabricksError as error:
        raise WorkspaceError(f"The workspace does not take the job {JOB_NAME}: {one_line(error)}.") from error
    _give(client, settings, job_id)
    # A run that was started before the change may still install the earlier wheel.
    for digest in store.folders(store.root):
        if digest != wheel.digest and digest not in str(before):
            store.delete(f"{store.root}/{digest}")
    return job_id


def run(
    client: "WorkspaceClient",
    settings: Settings,
    *,
    wait: bool = True,
    progress: Progress = lambda _: None,
) -> RunStatus:
    """Start the job now.

    Args:
        client: of the workspace.
        settings: how often to poll the run.
        wait: until it has ended. An interrupted wait does not stop the run.
        progress: receives each change of a task's state.

    Returns:
        The run's final state, or without waiting its current one.

    Raises:
        WorkspaceError: there is no job yet.
    """
    job_id = _require_job(client)
    # A lost answer is asked for again with the same token, so that there is one run.
    token = uuid.uuid4().hex
    run_id = patiently(lambda: client.jobs.run_now(job_id, idempotency_token=token).response.run_id or 0)
    status = _status_of(client, run_id)
    progress(f"Run {run_id}: {status.url}")
    reported: dict[str, str] = {}
    while True:
        for task in status.tasks:
            if reported.get(task.name, "BLOCKED") != task.state:
                reported[task.name] = task.state
                progress(f"{task.name}: {task.detail or task.state}")
        if status.has_ended or not wait:
            return _with_reason(client, status)
        time.sleep(settings.databricks_poll_seconds)
        status = _status_of(client, run_id)


def status(client: "WorkspaceClient", limit: int = 5) -> list[RunStatus]:
    """Return the job's last runs, the latest first, with the reason of the latest failure.

    Raises:
        WorkspaceError: there is no job yet.
    """
    job_id = _require_job(client)
    now = dt.datetime.now(dt.UTC)
    # The SDK's limit is that of a page: without a stop it would fetch all.
    recent = patiently(
        lambda: list(
            itertools.islice(client.jobs.list_runs(job_id=job_id, limit=limit, expand_tasks=True), limit)
        )
    )
    runs = [read_run(run, now) for run in recent]
    failed = next((index for index, run in enumerate(runs) if run.has_failed), None)
    if failed is not None:
        runs[failed] = _with_reason(client, runs[failed])
    return runs


def delete(client: "WorkspaceClient", settings: Settings) -> int | None:
    """Delete the job and its wheels; its tables and models stay.

    Returns:
        The id of the deleted job, None if there was none.
    """
    job = _find(client)
    store = workflow_staging(settings, client)
    if job and job.job_id:
        job_id = job.job_id
        patiently(lambda: client.jobs.delete(job_id))
    store.delete(store.root)
    return job.job_id if job else None


def covers(actual: Any, wanted: Any) -> bool:
    """Return whether actual settings contain the wanted ones, apart from what the service adds.

    Lists are compared whole: an added task is a difference. What has a key, such as a task, is compared with
    the one of its key, as the service returns tasks in an order of its own.
    """
    if isinstance(wanted, dict):
        names = wanted.keys() - WRITE_ONLY
        return isinstance(actual, dict) and all(covers(actual.get(key), wanted[key]) for key in names)
    if isinstance(wanted, list):
        if not isinstance(actual, list) or len(actual) != len(wanted):
            return False
        pairs = zip(sorted(actual, key=_key), sorted(wanted, key=_key), strict=True)
        return all(covers(item, other) for item, other in pairs)
    return actual == wanted


def _key(item: Any) -> str:
    """What identifies an item of a list; empty, so that the order stays, where nothing does."""
    return next((item[key] for key in KEYS if key in item), "") if isinstance(item, dict) else ""


def _find(client: "WorkspaceClient") -> "Job | None":
    """Return the complete job of the name; listings leave out tasks and clusters."""
    named = patiently(lambda: [job.job_id for job in client.jobs.list(name=JOB_NAME) if job.job_id])
    if len(named) > 1:
        raise WorkspaceError(
            f"There are {len(named)} jobs named {JOB_NAME}: {', '.join(map(str, named))}. "
            "Delete all but one, or rename them."
        )
    return patiently(lambda: client.jobs.get(named[0])) if named else None


def _require_job(client: "WorkspaceClient") -> int:
    job = _find(client)
    if job is None or not job.job_id:
        raise WorkspaceError(f"There is no job {JOB_NAME} yet. Create it with: churn workflow create")
    return job.job_id


def _runs_as(job: "Job", settings: Settings) -> bool:
    """Whether the job runs as whom the settings name, or else as who made it."""
    return job.run_as_user_name == (settings.databricks_run_as or job.creator_user_name)


def _give(client: "WorkspaceClient", settings: Settings, job_id: int) -> None:
    """Let others run or manage the job; who has other rights keeps them.

    Raises:
        WorkspaceError: one of them is not known, or this user may not give rights.
    """
    entries = [JobAccessControlRequest.from_dict(entry) for entry in permissions(settings)]
    if not entries:
        return
    try:
        patiently(lambda: client.jobs.update_permissions(str(job_id), access_control_list=entries))
    except DatabricksError as error:
        raise WorkspaceError(
            f"The job {JOB_NAME} is there, but its permissions could not be set: {one_line(error)}. Check "
            "CHURN_DATABRICKS_ENGINEERS and CHURN_DATABRICKS_OWNER."
        ) from error


def _stage(store: VolumeFolder, wheel: Wheel, settings: Settings) -> Installs:
    """Stage the wheel and what it requires, and return what a task installs."""
    folder = f"{store.root}/{wheel.digest}"
    staged = f"{folder}/{wheel.name}"
    requirements = cluster_requirements().content
    if settings.databricks_job_compute == "serverless":
        # One file with the wheel in it: with hashes for some requirements pip wants one for each.
        digest = hashlib.sha256(wheel.content).hexdigest()
        files = {
            staged: wheel.content,
            f"{folder}/{ENVIRONMENT_FILE}": requirements + f"{staged} --hash=sha256:{digest}\n".encode(),
        }
        installs: Installs = [f"-r {folder}/{ENVIRONMENT_FILE}"]
    else:
        files = {f"{folder}/{FILE}": requirements, staged: wheel.content}
        installs = [{"whl": staged}, {"requirements": f"{folder}/{FILE}"}]
    # Where the last one is, the others are.
    if not store.exists([*files][-1]):
        for path, content in files.items():
            store.put(path, content)
    return installs


def _status_of(client: "WorkspaceClient", run_id: int) -> RunStatus:
    return read_run(patiently(lambda: client.jobs.get_run(run_id)), dt.datetime.now(dt.UTC))


def _with_reason(client: "WorkspaceClient", failed: RunStatus) -> RunStatus:
    """The run with the error of the first task that failed."""
    task = next((item for item in failed.tasks if item.has_failed), None)
    if task is None or not failed.has_failed:
        return failed
    error_text = ""
    try:
        error_text = patiently(lambda: client.jobs.get_run_output(task.run_id)).error or ""
    except DatabricksError as error:
        # A condition has none, and what ended two months ago has none any more.
        log.info("No output of %s: %s", task.name, one_line(error))
    reason = in_one_line(error_text) or task.message
    return dataclasses.replace(failed, reason=f"{task.name}: {reason}" if reason else "")
