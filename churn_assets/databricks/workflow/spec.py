"""The job's specification for the Jobs API, which ``workflow`` creates and ``bundle`` exports."""

from typing import Any

from churn_assets.databricks.compute.compute import cluster_spec, require_runtime
from churn_assets.databricks.compute.libraries import DISTRIBUTION
from churn_assets.databricks.workflow.tasks import ENTRY_POINT, FEATURE_COUNT, TaskName
from churn_assets.errors import SettingsError
from churn_assets.identity import OF_THIS_MACHINE
from churn_assets.model.data.dataset import MINIMUM_ROWS
from churn_assets.settings import Settings

JOB_NAME = "churn-prediction-pipeline"
JOB_CLUSTER = "main-cluster"
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

# Settings that only the machine that creates the job reads.
HERE_ONLY = frozenset(
    {
        "CHURN_ALERT_EMAILS",
        "CHURN_DAGSTER_URL",
        "CHURN_DATABRICKS_CLUSTER_ID",
        "CHURN_DATABRICKS_COMPUTE",
        "CHURN_DATABRICKS_DBU_RATES",
        "CHURN_DATABRICKS_POLL_SECONDS",
        "CHURN_DATABRICKS_POOL_ID",
        "CHURN_LAKE_ROOT",
        "CHURN_SLA_MINUTES",
        "CHURN_SPARK_MASTER",
        "DAGSTER_HOME",
        *OF_THIS_MACHINE,
    }
)
# Of the bundled scoring server, and of Dagster's own e-mails.
HERE_ONLY_PREFIXES = ("CHURN_ENDPOINT_", "CHURN_SMTP_")


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
    libraries: list[dict[str, str]],
    secrets: frozenset[str] = frozenset(),
    *,
    paused: bool = False,
) -> dict[str, Any]:
    """Return the job's specification: its tasks, their cluster and the schedule.

    Databricks does not retry a task: what fails here mostly fails again, the alert should not wait for that,
    and the next run catches up by itself.

    Args:
        settings: those that ``require_job_settings`` has let pass.
        libraries: of each task: the wheel, and the file of what it requires.
        secrets: keys that the secret scope has; the cluster reads them itself.
        paused: whether the schedule is paused.

    Raises:
        SettingsError: the runtime is not one that this package runs on.
    """
    require_runtime(settings.databricks_spark_version, "CHURN_DATABRICKS_SPARK_VERSION")

    def task(name: TaskName, depends_on: list[dict[str, str]], **more: Any) -> dict[str, Any]:
        return {
            "task_key": name,
            **({"depends_on": depends_on} if depends_on else {}),
            **more,
            "job_cluster_key": JOB_CLUSTER,
            "python_wheel_task": {
                "package_name": DISTRIBUTION.replace("-", "_"),
                "entry_point": ENTRY_POINT,
                "parameters": [name],
            },
            "libraries": libraries,
            "timeout_seconds": TIMEOUTS[name],
        }

    emails = [address.strip() for address in settings.alert_emails.split(",") if address.strip()]
    return {
        "name": JOB_NAME,
        "tags": {"project": DISTRIBUTION},
        "max_concurrent_runs": 1,
        "timeout_seconds": JOB_TIMEOUT,
        "schedule": {
            "quartz_cron_expression": SIX_O_CLOCK,
            "timezone_id": "UTC",
            "pause_status": "PAUSED" if paused else "UNPAUSED",
        },
        **({"email_notifications": {"on_failure": emails}} if emails else {}),
        "job_clusters": [{"job_cluster_key": JOB_CLUSTER, "new_cluster": _cluster(settings, secrets)}],
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


def _cluster(settings: Settings, secrets: frozenset[str]) -> dict[str, Any]:
    spec = cluster_spec(settings, secrets)
    environment = {
        name: value
        for name, value in settings.as_env().items()
        if name not in HERE_ONLY and not name.startswith(HERE_ONLY_PREFIXES)
    }
    environment["DAGSTER_DISABLE_TELEMETRY"] = "true"
    return {**spec, "spark_env_vars": {**environment, **spec.get("spark_env_vars", {})}}
