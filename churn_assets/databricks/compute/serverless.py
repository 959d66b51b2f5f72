"""The environment of serverless compute: which Python and Spark, and what is installed there."""

from typing import Any

# Python 3.12, and Spark of the line of Databricks Runtime 17.3 LTS: the requirements are locked for both.
# https://docs.databricks.com/aws/en/release-notes/serverless/environment-version/four
ENVIRONMENT_VERSION = "4"
ENVIRONMENT_KEY = "churn"


def environment(requirements: str) -> dict[str, Any]:
    """Return the environment of a run, which its tasks name by its key.

    Args:
        requirements: the path of the file that names what is to be installed.
    """
    # "Each dependency is a valid pip requirements file line", says the Jobs API.
    spec = {"environment_version": ENVIRONMENT_VERSION, "dependencies": [f"-r {requirements}"]}
    return {"environment_key": ENVIRONMENT_KEY, "spec": spec}
