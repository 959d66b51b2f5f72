"""Whether this process is on a cluster."""

import os


def runs_on_cluster() -> bool:
    """Whether this process is on a Databricks cluster, as its runtime says.

    Not a setting: nobody sets it, and one that travelled would make an orchestrator compute by itself.
    """
    return bool(os.environ.get("DATABRICKS_RUNTIME_VERSION"))
