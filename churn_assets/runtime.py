"""Detection of the Databricks Runtime."""

import os


def runs_on_cluster() -> bool:
    """Return whether this process runs on a Databricks cluster.

    This is no setting: one that was passed on with the others would make an orchestrator compute locally.
    """
    return bool(os.environ.get("DATABRICKS_RUNTIME_VERSION"))
