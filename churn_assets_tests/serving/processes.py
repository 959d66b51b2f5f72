"""The real server as a process with its workers, and many connections that ask it at once."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.settings import Settings
from churn_assets_tests.serving.conftest import Client

INVOCATIONS = f"/serving-endpoints/{ENDPOINT_NAME}/invocations"
TOKEN = "a-token-for-tests"
ADMIN_TOKEN = "another-token-for-tests"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def environment(settings: Settings, port: int, **variables: str) -> dict[str, str]:
    """Nothing but what a new machine has, and the settings."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ},
        **settings.as_env(),
        "CHURN_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "CHURN_ENDPOINT_TOKEN": TOKEN,
        "CHURN_ENDPOINT_ADMIN_TOKEN": ADMIN_TOKEN,
        **variables,
    }


def command() -> list[str]:
    return [sys.executable, "-m", "churn_assets.serving.server.main"]


@dataclass
class ServerProcess:
    """``churn serve`` with two workers."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def client(self) -> Client:
        """Who manages it."""
        return Client(f"http://127.0.0.1:{self.port}", ADMIN_TOKEN)

    def workers(self) -> list[psutil.Process]:
        """The processes that listen on the port, the server's own aside."""
        return [child for child in self._children() if listens(child, self.port)]

    def follower(self) -> psutil.Process | None:
        """The process that follows the registry."""
        ours = [child for child in self._children() if not listens(child, self.port)]
        return next((child for child in ours if "spawn_main" in " ".join(command_of(child))), None)

    def all_processes(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def resident_bytes(self) -> int:
        """Of all workers."""
        return sum(worker.memory_info().rss for worker in self.workers())

    def state(self) -> tuple[str, str]:
        """The version that is served, and how the update goes."""
        endpoint = self.client.ask("GET", f"/api/2.0/serving-endpoints/{ENDPOINT_NAME}").json()
        entities = endpoint.get("config", {}).get("served_entities", [{"entity_version": "none"}])
        return entities[0]["entity_version"], endpoint["state"]["config_update"]

    def until_it_serves(self, version: str) -> float:
        """Wait until the endpoint says so; when it did."""
        wait_until(
            lambda: self.state() == (version, "NOT_UPDATING"), f"version {version} is served", self.log
        )
        return time.monotonic()

    def metric(self, sample: str) -> float:
        lines = self.client.ask("GET", "/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{sample} ")), 0.0)

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


def listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_until(holds: Callable[[], Any], what: str, log: Path | None = None, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:  # it does not answer yet
            pass
        log_text = log.read_text() if log else ""
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{log_text}"
        time.sleep(0.05)


@contextmanager
def server_process(settings: Settings, folder: Path, **variables: str) -> Iterator[ServerProcess]:
    """Start a server and wait until it serves Production, version 1; leave none of its processes."""
    port, log = free_port(), folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(), env=environment(settings, port, **variables), cwd=folder, stdout=file, stderr=file
        )
    server = ServerProcess(process, port, log)
    family: list[psutil.Process] = []
    try:
        server.until_it_serves("1")
        wait_until(lambda: len(server.workers()) == 2, "two workers listen", log)
        family = server.all_processes()
        yield server
    finally:
        if process.poll() is None:
            family += server.all_processes()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        for left in family:
            if left.is_running() and left.pid != process.pid:
                left.kill()
        process.wait(5)


@dataclass
class Answered:
    """One request: when it was begun and over, on which port, and what came back (or what went wrong)."""

    begun: float
    over: float
    local_port: int
    status: int = 0
    version: str = ""
    content: Any = None
    error: BaseException | None = None


@dataclass
class Load:
    """Connections that each ask again as soon as they have an answer."""

    port: int
    connections: int
    body: dict[str, Any]
    answers: list[Answered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(self.connections)]
        self._encoded = json.dumps(self.body).encode()

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.until_answered(self.connections)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_answered(self, more: int) -> None:
        """Wait for so many more answers."""
        enough = len(self.answers) + more
        wait_until(lambda: len(self.answers) >= enough, f"{more} more answers")

    @property
    def failed(self) -> list[Answered]:
        return [answer for answer in self.answers if answer.status != 200]

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            local_port, begun = 0, time.monotonic()
            try:
                connection.connect()
                local_port = connection.sock.getsockname()[1]
                while not self._stop.is_set():
                    begun = time.monotonic()
                    self.answers.append(self._ask(connection, local_port, begun))
            except (OSError, http.client.HTTPException) as error:
                self.answers.append(Answered(begun, time.monotonic(), local_port, error=error))
                self._stop.wait(0.05)
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection, local_port: int, begun: float) -> Answered:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        connection.request("POST", INVOCATIONS, self._encoded, headers)
        response = connection.getresponse()
        content = json.loads(response.read())
        version = response.headers.get("churn-model-version", "")
        return Answered(begun, time.monotonic(), local_port, response.status, version, content)
