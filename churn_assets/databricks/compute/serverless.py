"""The environment of serverless compute: which Python and Spark, and what is installed there."""

from typing import Any

# Python 3.12 and a client of Spark 4.0, with the very packages around which the requirements are locked: 3 is
# older than the oldest runtime, and 5 has another Arrow. See docs/adr/0042.
ENVIRONMENT_VERSION = "4"
ENVIRONMENT_KEY = "main"


def environment(dependencies: list[str]) -> dict[str, Any]:
    """Return the environment of a run or job, which its tasks name by its key.

    Args:
        dependencies: lines of a requirements file, as the Jobs API takes them.
    """
    spec = {"environment_version": ENVIRONMENT_VERSION, "dependencies": dependencies}
    return {"environment_key": ENVIRONMENT_KEY, "spec": spec}
