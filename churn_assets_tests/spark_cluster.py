"""A standalone Spark cluster on this machine: a master and two workers, each a process of its own.

They start as those of other machines would: in an empty folder, with an environment that knows neither the
lake nor its bucket.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

from churn_assets_tests.conftest import QUICK_JVM

BIN = Path(sys.executable).parent
STARTS_WITHIN_SECONDS = 600
HERE = "127.0.0.1"
WORKERS = ("worker1", "worker2")


class SparkCluster:
    """The cluster at ``master``, each of its workers with one core.

    Args:
        folder: an empty one, for what the cluster writes.
        hidden: a folder that the workers see empty, where this process may hide it from them.
    """

    def __init__(self, folder: Path, hidden: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.is_hidden = subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0
        self._start("master", "org.apache.spark.deploy.master.Master", "--port", "0", "--webui-port", "0")
        self.master = self._said("master", r"Starting Spark master at (spark://\S+)")
        for name in WORKERS:
            home = folder / name
            worker = ["org.apache.spark.deploy.worker.Worker", "--cores", "1", "--memory", "1g"]
            places = ["--work-dir", str(home / "work"), "--webui-port", "0", self.master]
            self._start(name, *worker, *places, hidden=hidden if self.is_hidden else None)
        for name in WORKERS:
            self._said(name, r"(Successfully registered with master)")

    def stop(self) -> None:
        """End all of it; workers end their executors."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(60)

    def executors(self) -> int:
        """Return how many executors the workers have started by now."""
        logs = [self._log(name).read_text() for name in WORKERS]
        return sum(log.count("Asked to launch executor ") for log in logs)

    def _start(self, name: str, class_name: str, *arguments: str, hidden: Path | None = None) -> None:
        home = self._folder / name
        home.mkdir()
        command = [str(BIN / "spark-class"), class_name, "--host", HERE, *arguments]
        if hidden:
            script = 'mount -t tmpfs none "$0" && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, str(hidden), *command]
        with self._log(name).open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    cwd=home,
                    env={
                        "HOME": str(home),
                        "PATH": f"{BIN}:/usr/sbin:/usr/bin:/bin",
                        "SPARK_LOCAL_IP": HERE,
                        # Executors are the workers' children, and have it from them.
                        "JDK_JAVA_OPTIONS": QUICK_JVM,
                    },
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def _said(self, name: str, pattern: str) -> str:
        until = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < until:
            if found := re.search(pattern, self._log(name).read_text()):
                return found[1]
            time.sleep(0.2)
        raise TimeoutError(f"{name} did not start: {self._log(name).read_text()[-2000:]}")

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
