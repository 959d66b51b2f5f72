"""The engines for lakes in folders: Sail, embedded in this process, and Apache Spark with Delta.

Both provide a ``SparkSession`` in UTC through dagster-pyspark's resource. It starts at its first use, and the
whole process shares it.
"""

import getpass
import logging
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import InitResourceContext
from dagster_pyspark import PySparkResource
from filelock import FileLock
from pydantic import Field

from churn_assets.errors import EnvironmentNotReadyError
from churn_assets.lakehouse import s3a

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UTC_SESSION = {"spark.sql.session.timeZone": "UTC"}

# Apache Spark's defaults are for clusters: its 200 shuffle partitions, and 50 for a Delta log, cost a laptop
# 6 s a write.
SPARK_CONFIG = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Not INT96, the default: Sail, which shares the folders, cannot read it as a UTC timestamp.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "4g",
    # Tables have their own folders; without this an empty spark-warehouse appears in the working directory.
    "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "churn-spark-warehouse"),
}


class LazySpark(PySparkResource):
    """dagster-pyspark's resource, whose session starts at its first use.

    A run that only reads metadata, or a process that only loads the definitions, starts no engine.
    """

    spark_config: dict[str, Any] = Field(default_factory=dict)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Leave the session to its first use."""


class EmbeddedSail(LazySpark):
    """Sail, a Spark Connect server inside this process: no Java, no jars."""

    catalogs: list[str]

    @property
    def spark_session(self) -> "SparkSession":
        """The session of this process's one Sail server."""
        return _sail_session(tuple(self.catalogs))


class ApacheSpark(LazySpark):
    """Apache Spark with Delta Lake, in this process (``local[*]``) or on a cluster."""

    master: str
    reaches_s3: bool = False

    @property
    def spark_session(self) -> "SparkSession":
        """This process's one classic session."""
        extra = tuple(sorted(self.spark_config.items()))
        return _apache_session(self.master, extra, reaches_s3=self.reaches_s3)


# Sail forgets a session that is asked nothing for a quarter of an hour, which a training of many rows takes.
# A process's one session ends with the process: ten years.
IDLE_SECONDS = 10 * 365 * 86400


def sail_environment(catalogs: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that Sail reads when a server starts.

    Args:
        catalogs: their names, the default one first: names in memory, which are filled anew at each start.
    """
    listed = ", ".join(f'{{name="{name}", type="memory", initial_database=["default"]}}' for name in catalogs)
    return {
        "SAIL_CATALOG__LIST": f"[{listed}]",
        "SAIL_CATALOG__DEFAULT_CATALOG": catalogs[0],
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(IDLE_SECONDS),
    }


@cache
def _sail_port(catalogs: tuple[str, ...]) -> int:
    os.environ.update(sail_environment(catalogs))
    os.environ.setdefault("RUST_LOG", "error")

    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    _SERVERS.append(server)
    _, port = server.listening_address  # type: ignore[misc]  # set once the server has started
    return port


# gRPC's message for it.
UNREADABLE_REPLY = "Exception deserializing response!"

# A server stops when it is garbage-collected.
_SERVERS: list[Any] = []


@cache
def _sail_session(catalogs: tuple[str, ...]) -> "SparkSession":
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.config("spark.remote", f"sc://127.0.0.1:{_sail_port(catalogs)}")
    for key, value in UTC_SESSION.items():
        builder = builder.config(key, value)
    session = builder.create()
    _retry_unreadable_replies(session)
    return session


def _retry_unreadable_replies(session: "SparkSession") -> None:
    """Repeat requests whose reply cannot be parsed: analysing a plan, or resuming a result, changes nothing.

    Seen twice in many thousand replies, in two processes of one busy machine within a minute. The cause is
    unknown; gRPC writes it to its own log only.
    """
    from pyspark.sql.connect.client.retries import RetryPolicy

    class UnreadableReply(RetryPolicy):
        def can_retry(self, exception: BaseException) -> bool:
            return UNREADABLE_REPLY in str(exception)

    client: Any = session.client
    client.set_retry_policies([*client.get_retry_policies(), UnreadableReply(3, initial_backoff=100)])


@cache
def _apache_session(master: str, extra: tuple[tuple[str, str], ...], *, reaches_s3: bool) -> "SparkSession":
    require_java()
    from delta import configure_spark_with_delta_pip
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.ERROR)
    # Workers need this environment's packages; on a cluster elsewhere PYSPARK_PYTHON says where theirs are.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("churn").master(master)
    on_s3 = s3a.SPARK_CONFIG if reaches_s3 else {}
    for key, value in {**SPARK_CONFIG, **UTC_SESSION, **on_s3, **dict(extra)}.items():
        builder = builder.config(key, value)
    packages = list(s3a.PACKAGES) if reaches_s3 else []
    # One at a time: two that fetch Delta's jars into an empty Ivy cache delete each other's files, and fail.
    with FileLock(Path(tempfile.gettempdir()) / f"churn-spark-{getpass.getuser()}.lock"):
        session = configure_spark_with_delta_pip(builder, packages).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    if reaches_s3:
        s3a.introduce(session)
    return session


def find_java() -> str | None:
    """Return the java that Apache Spark will start: that of ``JAVA_HOME`` if it is set, else of the path."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")


def require_java() -> str:
    """Return the path of the java that Apache Spark will start.

    Raises:
        EnvironmentNotReadyError: ``JAVA_HOME``, if it is set, or else the path has no ``java``.
    """
    java = find_java()
    if java:
        return java
    raise EnvironmentNotReadyError(
        "CHURN_DEPLOYMENT=spark needs Java 17 or newer, and there is no java under JAVA_HOME or, without it, "
        "on the PATH. Install one, or use CHURN_DEPLOYMENT=local, which needs none."
    )
