"""The engine of a ``databricks`` deployment: on a cluster its Spark session, elsewhere none."""

from typing import TYPE_CHECKING

from churn_assets.errors import WorkspaceError
from churn_assets.lakehouse.engines import UTC_SESSION, LazySpark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class ClusterSpark(LazySpark):
    """The Spark session of the cluster that this process runs on."""

    @property
    def spark_session(self) -> "SparkSession":
        """The cluster's session, in UTC."""
        from pyspark.sql import SparkSession

        session = SparkSession.builder.getOrCreate()
        for key, value in UTC_SESSION.items():
            session.conf.set(key, value)
        return session


class NoSpark(LazySpark):
    """The absence of Spark on a machine that only orchestrates."""

    @property
    def spark_session(self) -> "SparkSession":
        """Refuse: there is no session.

        Raises:
            WorkspaceError: always.
        """
        raise WorkspaceError(
            "With CHURN_DEPLOYMENT=databricks Spark runs on the cluster, and this process is not on one. "
            "Let the asset require pyspark_step_launcher, or use CHURN_DEPLOYMENT=local."
        )
