"""The emulated Databricks Runtime: an engine, a metastore, and what a process on the cluster finds.

How it differs from the real one is in ``emulated_databricks``.
"""

from churn_assets_tests.workspace.runtime.engine import Engine, ExistingVolumes

__all__ = ["Engine", "ExistingVolumes"]
