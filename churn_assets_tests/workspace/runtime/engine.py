"""The engine of one emulated workspace: a process with Sail and the SQL warehouse, for all its clusters."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import pysail

from churn_assets.lakehouse.engines import sail_environment
from churn_assets_tests.workspace.cluster import Cluster
from churn_assets_tests.workspace.processes import Runtime
from churn_assets_tests.workspace.runtime.emulated_databricks.unity import Unity
from churn_assets_tests.workspace.runtime.spark_driver import SparkDriver

PACKAGE = Path(__file__).parent / "emulated_databricks"
CATALOGS = ("main_catalog", "raw_catalog")
# Sail has the settings of the Spark that it finds, which is the runtime's; the client of this process is
# newer, and asks for these as well. The values are that Spark's own.
NEWER = {
    "spark.sql.session.localRelationSizeLimit": str(3 * 1024**3),
    "spark.sql.session.localRelationChunkSizeRows": "10000",
    "spark.sql.session.localRelationChunkSizeBytes": str(16 * 1024**2),
    "spark.sql.session.localRelationBatchOfChunksSizeBytes": str(1024**3),
}


class Engine:
    """Starts when it is made, and stops when it is closed or this process ends, whatever way.

    Args:
        folder: the workspace's; volumes are in ``Volumes`` there, managed tables in ``managed``.
        python: the cluster's interpreter; functions travel to it by cloudpickle.
        libraries: folder of what the cluster has installed.
        classic: folder of Apache Spark, for dedicated clusters; they are Spark Connect's without it, and the
            warehouse is Sail as ever.
        catalogs: those that can be created.

    Attributes:
        unity: the metastore, for assertions and for Unity Catalog's API.
        statements: what the warehouse was asked to run, in order.
        drivers: of dedicated clusters, by the cluster's id; the last one where several followed one another.
    """

    def __init__(
        self,
        folder: Path,
        python: Path | None = None,
        libraries: Path | None = None,
        catalogs: tuple[str, ...] = CATALOGS,
        classic: Path | None = None,
    ) -> None:
        self._site = folder / "engine"
        self._site.mkdir(parents=True)
        # Sail is the emulation's and no cluster's. It has Python's stable ABI, so this process's will do.
        sail = self._site / "sail"
        sail.mkdir()
        (sail / "pysail").symlink_to(Path(pysail.__file__).parent)
        shutil.copytree(PACKAGE, self._site / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        self.unity = Unity(folder)
        self.statements: list[str] = []
        self._lock = threading.Lock()
        # Tasks that start at the same time ask for it from their own threads.
        self._driver_lock = threading.Lock()
        self._sessions: list[Any] = []
        path = [self._site, *([libraries] if libraries else []), sail]
        self._process = self._start(folder, python or Path(sys.executable), catalogs, path)
        self._remote = f"sc://127.0.0.1:{self._read()['port']}"
        self._python, self._libraries = python or Path(sys.executable), libraries
        self._spark = (classic, *classic.glob("pyspark/python/lib/py4j-*.zip")) if classic else ()
        self.drivers: dict[str, SparkDriver] = {}

    def runtime(self, cluster: Cluster | None = None) -> Runtime:
        """What a process gets: on a dedicated cluster its driver's session, elsewhere one of Spark Connect.

        Args:
            cluster: that it runs on, None where it is serverless.
        """
        # As the SDK calls dedicated access mode; standard access mode's Spark is Connect.
        dedicated = cluster is not None and cluster.spec.get("data_security_mode") == "SINGLE_USER"
        session = {"SPARK_REMOTE": self._remote}
        if cluster and dedicated and self._spark:
            session = self._driver_of(cluster).environment
        return Runtime(
            environment={"EMULATED_DATABRICKS": str(self.unity.folder), **session},
            path=(self._site, *(self._spark if dedicated else ())),
            imports=("emulated_databricks.hook",),
        )

    def _driver_of(self, cluster: Cluster) -> SparkDriver:
        """The cluster's one driver, started for its first process."""
        with self._driver_lock:
            driver = self.drivers.get(cluster.cluster_id)
            if driver is None or not driver.is_alive:
                driver = SparkDriver(cluster.folder, self._python, self._spark, self._libraries)
                self.drivers[cluster.cluster_id] = driver
                cluster.on_termination.append(driver.close)
            return driver

    def execute(self, sql: str) -> dict[str, Any]:
        """Run one statement as a SQL warehouse: ``columns`` and ``rows``, or ``error``."""
        with self._lock:
            self.statements.append(sql)
            assert self._process.stdin
            self._process.stdin.write(json.dumps({"sql": sql}) + "\n")
            self._process.stdin.flush()
            return self._read()

    def session(self) -> Any:
        """A session of the cluster in this process; the process's other sessions stay as they are."""
        from pyspark.sql import SparkSession

        from churn_assets_tests.workspace.runtime.emulated_databricks.session import attach

        session: Any = SparkSession.builder.remote(self._remote).create()
        for name, value in {"spark.sql.session.timeZone": "UTC", **NEWER}.items():
            session.conf.set(name, value)
        self._sessions.append(session)
        return attach(session, self.unity.folder)

    def close(self) -> None:
        """Stop."""
        for driver in self.drivers.values():
            driver.close()
        for session in self._sessions:
            # Otherwise it says goodbye when this process ends, and asks for minutes an engine that is gone.
            session.stop()
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(
        self, folder: Path, python: Path, catalogs: tuple[str, ...], path: list[Path]
    ) -> "subprocess.Popen[str]":
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "TZ": "UTC",
            "RUST_LOG": "error",
            "EMULATED_DATABRICKS": str(folder),
            # A warehouse that was idle answers the next statement, too.
            **sail_environment(catalogs),
        }
        with (self._site / "server.log").open("w") as log:
            return subprocess.Popen(
                [python, "-m", "emulated_databricks.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=self._site,
                text=True,
            )

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            log = (self._site / "server.log").read_text()
            raise RuntimeError(f"The emulated engine has ended: {log[-2000:]}")
        return json.loads(line)


class ExistingVolumes(set[str]):
    """The volumes that the metastore knows, for the Files API."""

    def __init__(self, unity: Unity) -> None:
        super().__init__()
        self._unity = unity

    def __contains__(self, name: object) -> bool:
        return self._unity.get("volume", str(name)) is not None
