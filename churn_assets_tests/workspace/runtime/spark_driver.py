"""The driver of one classic cluster: a process with Apache Spark, which all of the cluster's tasks share.

A cluster has one Spark application for as long as it runs, and each Python process on it a session of its own
there: "Spark session isolation is enabled by default"
(https://docs.databricks.com/en/notebooks/notebook-isolation.html). Runs of a job are told no otherwise.
"""

import contextlib
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

SPARK_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "1",
    # For few rows and many plans, each met once: of the driver's CPU a quarter went into compiling plans, and
    # half as much into stages of their own for each exchange. No result depends on them.
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "2g",
    # It lives for minutes and meets each plan once: as conftest.QUICK_JVM.
    "spark.driver.extraJavaOptions": (
        "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"
    ),
}
# Apache Spark's own program for a JVM that Python processes talk to.
PROGRAM = "pyspark-shell"
START_SECONDS = 600.0


class SparkDriver:
    """Starts when it is made, and stops when it is closed or this process ends, whatever way.

    Args:
        folder: an existing one, of the cluster.
        python: the cluster's interpreter, for Spark's workers.
        spark: Apache Spark's folder and what of it Python finds besides.
        libraries: folder of what the cluster has installed, for Spark's workers.

    Attributes:
        environment: with which a process finds it.
    """

    def __init__(self, folder: Path, python: Path, spark: tuple[Path, ...], libraries: Path | None) -> None:
        home = folder / "spark"
        home.mkdir(exist_ok=True)
        paths = os.pathsep.join(map(str, [*spark, *([libraries] if libraries else [])]))
        told, self._log = home / "gateway", home / "driver.log"
        told.unlink(missing_ok=True)
        common = {
            "EMULATED_CLASSIC": "1",
            "PYSPARK_PYTHON": str(python),
            "PYTHONPATH": paths,
            "SPARK_HOME": str(spark[0] / "pyspark"),
        }
        conf = [word for name, value in SPARK_CONF.items() for word in ("--conf", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [spark[0] / "pyspark" / "bin" / "spark-submit", "--master", "local[2]", *conf, PROGRAM],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=home,
                env={
                    **common,
                    "PATH": f"{python.parent}:{os.environ['PATH']}",
                    "HOME": str(home),
                    "LANG": "C.UTF-8",
                    "TZ": "UTC",
                    "SPARK_CONNECT_MODE": "0",
                    "_PYSPARK_DRIVER_CONN_INFO_PATH": str(told),
                    **({"JAVA_HOME": os.environ["JAVA_HOME"]} if "JAVA_HOME" in os.environ else {}),
                },
                start_new_session=True,
            )
        port, secret = self._gateway(told)
        self.environment = {
            **common,
            "PYSPARK_GATEWAY_PORT": str(port),
            "PYSPARK_GATEWAY_SECRET": secret,
        }

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Stop, and Spark's workers with it. Closing twice changes nothing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin
        self._process.stdin.close()

    def _gateway(self, told: Path) -> tuple[int, str]:
        """The port and the secret, which pyspark's own ``launch_gateway`` reads in the same way."""
        end = time.monotonic() + START_SECONDS
        while not told.exists():
            if not self.is_alive or time.monotonic() > end:
                raise RuntimeError(f"Apache Spark has not started: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        content = told.read_bytes()
        port, length = struct.unpack("!ii", content[:8])
        return port, content[8 : 8 + length].decode()
