"""MLflow tracking: a real ``mlflow server`` on a sqlite database answers, started when it is first asked.

Artifacts lie in a folder that clients and tasks reach directly, where the real service gives credentials for
cloud storage. Requests go through as they are: MLflow's own server decides what they may hold.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import requests

from churn_assets_tests.workspace.routing import Answer, Call, Route

PREFIXES = ("/api/2.0/mlflow/", "/api/3.0/mlflow/", "/api/2.0/mlflow-artifacts/")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
START_SECONDS = 120
# What concerns one connection only, and what requests has already undone.
NOT_PASSED_ON = {"host", "authorization", "content-length", "connection", "accept-encoding"}
NOT_PASSED_BACK = {"content-length", "content-encoding", "transfer-encoding", "connection", "server", "date"}


class MlflowServer:
    """The tracking server behind the workspace.

    Args:
        folder: of the workspace.

    Attributes:
        seconds_to_start: how long the start took; None before it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "mlflow"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._url: str | None = None
        self.seconds_to_start: float | None = None

    @property
    def url(self) -> str:
        """Where the server itself listens; started if it was not yet.

        Raises:
            TimeoutError: it does not answer.
        """
        with self._lock:
            if self._url is None:
                self._url = self._start()
            return self._url

    def close(self) -> None:
        """Kill the server if it was started."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def routes(self) -> list[Route]:
        """Everything below MLflow's prefixes."""
        return [
            Route(method, prefix + "{rest:path}", self._pass_on, anything=True)
            for prefix in PREFIXES
            for method in METHODS
        ]

    def _start(self) -> str:
        self._folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with (self._folder / "server.log").open("wb") as log:
            self._process = server = subprocess.Popen(
                [
                    *(
                        Path(sys.executable).parent / "mlflow",
                        "server",
                        "--host",
                        "127.0.0.1",
                        "--port",
                        str(port),
                    ),
                    *("--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"),
                    *(
                        "--default-artifact-root",
                        (self._folder / "artifacts").as_uri(),
                        "--no-serve-artifacts",
                    ),
                    *("--workers", "1"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
            )
        started = time.monotonic()
        url = f"http://127.0.0.1:{port}"
        while time.monotonic() - started < START_SECONDS and server.poll() is None:
            try:
                if requests.get(f"{url}/health", timeout=5).ok:
                    self.seconds_to_start = time.monotonic() - started
                    return url
            except requests.ConnectionError:
                time.sleep(0.05)
        raise TimeoutError(
            f"mlflow server does not answer: {(self._folder / 'server.log').read_text()[-2000:]}"
        )

    def _pass_on(self, call: Call) -> Answer:
        answer = requests.request(
            call.method,
            f"{self.url}{urllib.parse.quote(call.path)}",
            params=list(call.query.multi_items()),
            data=call.body,
            headers={name: value for name, value in call.headers.items() if name not in NOT_PASSED_ON},
            timeout=60,
        )
        headers = {
            name: value for name, value in answer.headers.items() if name.lower() not in NOT_PASSED_BACK
        }
        return Answer(answer.content, answer.status_code, headers)
