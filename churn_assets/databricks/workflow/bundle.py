"""The job as a Declarative Automation Bundle, for deployment by ``databricks bundle deploy``.

The job is that of ``spec``, with the bundle's variables in place of what differs between workspaces.
"""

from pathlib import Path
from typing import Any

from churn_assets.databricks.compute.libraries import FILE as REQUIREMENTS_FILE
from churn_assets.databricks.compute.libraries import PINS as PINS_FILE
from churn_assets.databricks.compute.spot import spot_attributes
from churn_assets.databricks.workflow.people import permissions
from churn_assets.databricks.workflow.spec import JOB_NAME, job_specification, require_job_settings
from churn_assets.databricks.workflow.tasks import KEEP
from churn_assets.databricks.workflow.wheel import write_wheel
from churn_assets.release import DISTRIBUTION
from churn_assets.settings import Settings

FILE = "databricks.yml"
KEY = JOB_NAME.replace("-", "_")
WHEELS = "dist"
# The command line of bundles uploads the file that this finds, and puts its path there.
WHEEL = f"./{WHEELS}/*.whl"
# It has its path replaced as well, but travels with the bundle's own files.
REQUIREMENTS = f"./{WHEELS}/{REQUIREMENTS_FILE}"
LIBRARIES = [{"whl": WHEEL}, {"requirements": REQUIREMENTS}]
# The command line puts the wheel's path there and could not keep a hash beside it; and with a hash for some
# requirements pip wants one for each. So these are the versions of REQUIREMENTS without their hashes.
PINS = f"./{WHEELS}/{PINS_FILE}"
DEPENDENCIES = [WHEEL, f"-r {PINS}"]

# What differs between workspaces: the variable, and the setting that it stands for.
VARIABLES = {
    "main_catalog": "Catalog of Silver, Gold and the model.",
    "raw_catalog": "Catalog of Bronze.",
    "landing_root": "Where event files land.",
    "databricks_volume": "Volume for checkpoints and wheels.",
}
CLUSTER_VARIABLES = {"databricks_node_type": "Node type of the job's cluster."}

HEADER = f"""\
# {JOB_NAME}, as churn workflow create makes it. Written by: churn workflow export
# Deploy it with: databricks bundle deploy --target dev
# The workspace is the one of DATABRICKS_HOST or of --profile.
"""


def export(
    settings: Settings, folder: Path, secrets: frozenset[str] = frozenset(), *, paused: bool = False
) -> Path:
    """Write ``databricks.yml`` and the wheel that it deploys.

    Args:
        settings: of a ``databricks`` deployment.
        folder: the target, created if it does not exist.
        secrets: keys in the secret scope, see ``secret_scope.scope_keys``.
        paused: whether the schedule is paused in ``prod``; in ``dev`` it always is.

    Returns:
        The path of ``databricks.yml``.

    Raises:
        SettingsError: no job can be made from the settings.
    """
    import yaml

    require_job_settings(settings)
    write_wheel(folder / WHEELS)
    text = yaml.dump(
        bundle(settings, secrets, paused=paused), Dumper=_no_aliases(), sort_keys=False, width=110
    )
    (folder / FILE).write_text(HEADER + text, encoding="utf-8")
    return folder / FILE


def bundle(
    settings: Settings, secrets: frozenset[str] = frozenset(), *, paused: bool = False
) -> dict[str, Any]:
    """Return the content of ``databricks.yml``.

    ``dev`` is for one developer: the service puts their name before the job's and pauses the schedule, and
    its tables lie in catalogs of their own, so that it can write to none of production. The endpoint's name
    is one a workspace, so ``dev`` leaves it alone.
    """
    on_cluster = settings.databricks_job_compute == "cluster"
    variables = VARIABLES | (CLUSTER_VARIABLES if on_cluster else {})
    in_variables = {name: f"${{var.{name}}}" for name in variables}
    # The host belongs to the target; a copy is not validated, and so takes the references.
    # Which cloud's spot machines these are, though, is decided here.
    updates = {**in_variables, "databricks_host": "${workspace.host}", "databricks_spot": False}
    templated = settings.model_copy(update=updates)
    job = job_specification(templated, LIBRARIES if on_cluster else DEPENDENCIES, secrets, paused=paused)
    for job_cluster in job.get("job_clusters", []):
        job_cluster["new_cluster"] |= spot_attributes(settings)
    identity = job.pop("run_as", None)
    deploy = next(task for task in job["tasks"] if task["task_key"] == "deploy")
    deploy["python_wheel_task"]["parameters"][0] = "${var.last_task}"
    catalogs = {name: f"dev_{getattr(settings, name)}" for name in ("main_catalog", "raw_catalog")}
    in_dev_catalog = settings.databricks_volume.replace(
        f"/Volumes/{settings.main_catalog}/", f"/Volumes/{catalogs['main_catalog']}/"
    )
    own_folder = "/Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.name}/${bundle.target}"
    return {
        "bundle": {"name": DISTRIBUTION},
        "variables": {
            **{
                name: {"description": text, "default": getattr(settings, name)}
                for name, text in variables.items()
            },
            "last_task": {
                "description": f"deploy, or {KEEP} to leave the endpoint alone.",
                "default": "deploy",
            },
        },
        # Whatever a .gitignore says of it.
        "sync": {"include": [(REQUIREMENTS if on_cluster else PINS).removeprefix("./")]},
        # The build makes the wheel of the package that is installed here, whose dependencies a cluster would
        # else install over its runtime.
        "artifacts": {
            "churn_assets": {
                "type": "whl",
                "path": ".",
                "build": f"python -m churn_assets.databricks.workflow.wheel {WHEELS}",
                "files": [{"source": WHEEL}],
            }
        },
        "resources": {"jobs": {KEY: job}},
        "targets": {
            "dev": {
                "mode": "development",
                "default": True,
                "variables": {**catalogs, "databricks_volume": in_dev_catalog, "last_task": KEEP},
            },
            "prod": {
                "mode": "production",
                "workspace": {"root_path": own_folder},
                **({"run_as": identity} if identity else {}),
                **_granted(settings),
            },
        },
    }


def _granted(settings: Settings) -> dict[str, Any]:
    """Who may do what with the job, in the words of bundles."""
    given = [
        {name if name != "permission_level" else "level": value for name, value in entry.items()}
        for entry in permissions(settings)
    ]
    return {"resources": {"jobs": {KEY: {"permissions": given}}}} if given else {}


def _no_aliases() -> Any:
    """A dumper that writes the tasks' libraries out, each time."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class asks
            return True

    return Dumper
