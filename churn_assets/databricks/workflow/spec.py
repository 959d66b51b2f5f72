"""The job's specification for the Jobs API, which ``workflow`` creates and ``bundle`` exports."""

from typing import Any

from churn_assets.databricks.workflow.job_compute import (
    Installs,
    arguments,
    of_job,
    of_task,
    require_job_compute,
)
from churn_assets.databricks.workflow.people import notices, run_as
from churn_assets.databricks.workflow.tasks import ENTRY_POINT, FEATURE_COUNT, TaskName
from churn_assets.errors import SettingsError
from churn_assets.model.data.dataset import MINIMUM_ROWS
from churn_assets.release import DISTRIBUTION
from churn_assets.settings import Settings

JOB_NAME = "churn-prediction-pipeline"
ENOUGH_ROWS = "enough_rows"

# Every day at 06:00 UTC, in Quartz's fields: second, minute, hour, day of month, month, day of week.
SIX_O_CLOCK = "0 0 6 * * ?"

HOUR = 3600
# Long for a day's events, short for a backlog of years: a task that hangs ends before the next night's run.
TIMEOUTS: dict[TaskName, int] = {
    "ingest": 4 * HOUR,
    "featurize": 6 * HOUR,
    "train": 2 * HOUR,
    "score": 2 * HOUR,
    "deploy": HOUR,
}
JOB_TIMEOUT = 12 * HOUR

# A task finds out by itself what is left to do, so one more attempt is safe. It is for what fails around the
# task; a failure of its own fails again.
RETRIES = {"max_retries": 1, "min_retry_interval_millis": 60_000, "retry_on_timeout": False}


def require_job_settings(settings: Settings) -> None:
    """Fail if no job can be made from the settings.

    Raises:
        SettingsError: they are of another deployment, or name what no cluster sees.
    """
    if settings.deployment != "databricks":
        raise SettingsError(
            f"CHURN_DEPLOYMENT={settings.deployment} has no Databricks job. Set CHURN_DEPLOYMENT=databricks."
        )
    landing = settings.landing_root
    if "://" not in landing and not landing.startswith("/Volumes/"):
        raise SettingsError(
            f"CHURN_LANDING_ROOT={landing} is a folder of this machine, which no cluster sees. "
            "Set it to cloud storage (s3://, abfss://, gs://) or to a folder of a Volume (/Volumes/…)."
        )


def job_specification(
    settings: Settings,
    installs: Installs,
    secrets: frozenset[str] = frozenset(),
    *,
    paused: bool = False,
) -> dict[str, Any]:
    """Return the job's specification: its tasks, their compute, the schedule and who has to do with it.

    Args:
        settings: those that ``require_job_settings`` has let pass.
        installs: of each task: a cluster's libraries, or the dependencies of a serverless environment.
        secrets: keys that the secret scope has; a cluster reads them itself, as serverless tasks do.
        paused: whether the schedule is paused.

    Raises:
        SettingsError: they ask of the compute what it does not have, or for a runtime that is too old.
    """
    require_job_compute(settings)

    def task(name: TaskName, depends_on: list[dict[str, str]], **more: Any) -> dict[str, Any]:
        return {
            "task_key": name,
            **({"depends_on": depends_on} if depends_on else {}),
            **more,
            **of_task(settings, installs),
            "python_wheel_task": {
                "package_name": DISTRIBUTION.replace("-", "_"),
                "entry_point": ENTRY_POINT,
                "parameters": [name, *arguments(settings)],
            },
            "timeout_seconds": TIMEOUTS[name],
            **RETRIES,
        }

    identity = run_as(settings)
    return {
        "name": JOB_NAME,
        "tags": {**settings.databricks_tags, "project": DISTRIBUTION},
        **({"run_as": identity} if identity else {}),
        "max_concurrent_runs": 1,
        # A run that is started while another one goes on waits for it, instead of being left out.
        "queue": {"enabled": True},
        "timeout_seconds": JOB_TIMEOUT,
        "schedule": {
            "quartz_cron_expression": SIX_O_CLOCK,
            "timezone_id": "UTC",
            "pause_status": "PAUSED" if paused else "UNPAUSED",
        },
        **notices(settings),
        **of_job(settings, installs, secrets),
        "tasks": [
            task("ingest", []),
            task("featurize", [{"task_key": "ingest"}]),
            {
                "task_key": ENOUGH_ROWS,
                "depends_on": [{"task_key": "featurize"}],
                "condition_task": {
                    "op": "GREATER_THAN_OR_EQUAL",
                    "left": f"{{{{tasks.featurize.values.{FEATURE_COUNT}}}}}",
                    "right": str(MINIMUM_ROWS),
                },
            },
            task("train", [{"task_key": ENOUGH_ROWS, "outcome": "true"}]),
            # With enough rows score's own edge to the condition is dead, and train has run; with too few that
            # edge lives, and train is Excluded. Databricks: "Excluded tasks are skipped and are treated as
            # successful", but "if all task dependencies are excluded, the task is also excluded": one of the
            # two is always left. NONE_FAILED is "none of the dependencies failed, and at least one
            # dependency was run": not met after a failed train. The service takes no edge from a condition
            # without its outcome.
            task(
                "score",
                [{"task_key": ENOUGH_ROWS, "outcome": "false"}, {"task_key": "train"}],
                run_if="NONE_FAILED",
            ),
            task("deploy", [{"task_key": "score"}]),
        ],
    }
