"""What a request may say of serverless tasks, in the service's words where these are known.

A task of Python code without a cluster is serverless: it runs in one of ``environments``, by its key.
"""

from typing import Any

from churn_assets_tests.workspace.routing import Violation

# https://docs.databricks.com/aws/en/release-notes/serverless/environment-version/: Python and Databricks
# Connect of each version. Only the fourth has Python 3.12 and a client of Spark 4.0, as the interpreter here.
VERSIONS = {"1": "3.10, 14.3", "2": "3.11, 15.4", "3": "3.12, 16.4", "4": "3.12, 17.3", "5": "3.12, 18.0"}
EMULATED = "4"


def check_environments(environments: list[dict[str, Any]]) -> set[str]:
    """Return the keys of a job's environments.

    Raises:
        Violation: a key is there twice, or a specification is none that can be had, or not emulated.
    """
    keys = [environment["environment_key"] for environment in environments]
    # SDK, ``JobEnvironment.environment_key``: "It has to be unique within a job."
    if len(set(keys)) != len(keys):
        raise Violation(f"Environment keys must be unique: {keys}.")
    for environment in environments:
        _check_spec(environment["environment_key"], environment.get("spec") or {})
    return set(keys)


def check_task(task: dict[str, Any], environments: set[str]) -> None:
    """Refuse a serverless task that no environment is for, or that brings libraries of its own.

    Raises:
        Violation: in the service's words.
    """
    key = task["task_key"]
    # github.com/databricks/databricks-sdk-py/issues/1228.
    if not task.get("environment_key"):
        raise Violation(
            f"An environment is required for serverless task {key}. Please define one using `environments` "
            "and `environment_key`. For more details, please refer to the API documentation."
        )
    # github.com/databricks/dbt-databricks/issues/1055.
    if task["environment_key"] not in environments:
        raise Violation(
            f"Job environment '{task['environment_key']}' used by task {key} is not defined in field "
            "'environments'."
        )
    # 400 INVALID_PARAMETER_VALUE of jobs/create, as many quote it.
    if "libraries" in task:
        raise Violation(
            "Libraries field is not supported for serverless task, please specify libraries in environment."
        )


def _check_spec(key: str, spec: dict[str, Any]) -> None:
    where = f"The environment {key}"
    # SDK, ``Environment.client``: "Use `environment_version` instead."
    if "client" in spec:
        raise Violation(f"{where} names client, which is deprecated. Use environment_version instead.")
    # SDK, ``environment_version``: "Required. … The version is a string, consisting of an integer."
    version = spec.get("environment_version")
    if version not in VERSIONS:
        raise Violation(f"{where} has the environment_version {version!r}; there are {', '.join(VERSIONS)}.")
    if version == "1":
        # At the launch: "Cannot launch the cluster. Cause: Invalid platform channel Client-1."
        raise Violation(f"Invalid platform channel Client-1 of {where}.")
    if version != EMULATED:
        raise Violation(f"{where} has version {version} ({VERSIONS[version]}), which is not emulated.")
    if "jar_dependencies" in spec:
        raise Violation(f"{where} has jar_dependencies, which are no Python task's.")
