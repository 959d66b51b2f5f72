"""Detection of the Databricks Runtime, and of serverless compute."""

import os


def runs_on_cluster() -> bool:
    """Return whether this process runs on a Databricks cluster or on serverless compute.

    This is no setting: one that was passed on with the others would make an orchestrator compute locally.
    """
    # The second is serverless compute's, beside the first, as MLflow reads them.
    return bool(os.environ.get("DATABRICKS_RUNTIME_VERSION") or os.environ.get("DATABRICKS_ENV_VERSION"))
