"""``churn serve``: one port, several workers, and one process that follows the registry.

uvicorn's supervisor restarts workers that crash or end because they were idle. The workers import this main
module again, so it imports little and runs as ``python -m``, not from the command line's module.
"""

import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import uvicorn
from filelock import FileLock, Timeout

from churn_assets import settings as settings_module
from churn_assets.errors import ChurnError, EndpointError
from churn_assets.serving.endpoint import (
    ENDPOINT_NAME,
    endpoint_admin_token,
    endpoint_token,
    online_folder,
    page_folder,
    state_folder,
)
from churn_assets.serving.server.connections import BoundedProtocol
from churn_assets.serving.server.options import MAX_CONNECTIONS, Options
from churn_assets.serving.server.workers import HEALTH_SECONDS, Workers, deaf_to_interrupts
from churn_assets.settings import Settings

log = logging.getLogger("churn.serve")

GRACE_SECONDS = 10
BACKLOG = 2048

# What a worker opens beside its connections: libraries, models, metrics.
OTHER_FILES = 256
MIN_CONNECTIONS = 64


def serve(settings: Settings) -> None:
    """Serve until a signal ends the process.

    Raises:
        EndpointError: another server uses the lake or the port.
        SettingsError: the token cannot be used.
    """
    folder = state_folder(settings)
    token, admin_token = endpoint_token(settings), endpoint_admin_token(settings)
    max_connections = _allow_connections()
    lock = FileLock(folder / "server.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise EndpointError(
            f"Another server serves this lake ({folder}). Use it, or stop it: churn status says where it is."
        ) from error
    with lock, _listen(settings.endpoint_url) as listener:
        options = Options(
            state=folder,
            online=online_folder(settings),
            page=page_folder(settings),
            token=token,
            admin_token=admin_token,
            idle_seconds=settings.endpoint_idle_seconds,
            max_bytes=settings.endpoint_max_megabytes * 1024 * 1024,
            metrics_folder=_make_empty(folder / "metrics"),
            public_metrics=settings.endpoint_public_metrics,
            max_connections=max_connections,
        )
        (folder / "wanted.json").unlink(missing_ok=True)
        (folder / "active").touch()
        host, port = listener.getsockname()[:2]
        log.info("%s on http://%s:%s, %s workers", ENDPOINT_NAME, host, port, settings.endpoint_workers)
        log.info("who is at risk, for people with the token: http://%s:%s/", host, port)
        log.info("token: %s", "CHURN_ENDPOINT_TOKEN" if settings.endpoint_token else folder / "token")
        admin = "CHURN_ENDPOINT_ADMIN_TOKEN" if settings.endpoint_admin_token else folder / "admin-token"
        log.info("token of who manages it: %s", admin)
        _run(settings, options, listener)


def _allow_connections() -> int:
    """Let the workers, which inherit it, open as many files as they may; return the connections of each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    allowed = soft
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return MAX_CONNECTIONS
    connections = max(MIN_CONNECTIONS, allowed - OTHER_FILES)
    log.warning(
        "a worker holds %s connections, because it may open %s files; for %s: ulimit -n %s",
        *(connections, allowed, MAX_CONNECTIONS, wanted),
    )
    return connections


def _run(settings: Settings, options: Options, listener: socket.socket) -> None:
    # prometheus_client reads the variable on import, in each worker.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(options.metrics_folder)
    from churn_assets.serving.server.app import make_app

    config = uvicorn.Config(
        partial(make_app, options),
        factory=True,
        workers=settings.endpoint_workers,
        access_log=False,
        log_level="warning",
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=HEALTH_SECONDS,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=False,
    )
    workers = Workers(config, listener)
    stop = threading.Event()
    follower = threading.Thread(target=_keep_follower_running, args=(settings, options.state, stop))
    follower.start()
    try:
        workers.run()
    finally:
        stop.set()
        follower.join()


def _keep_follower_running(settings: Settings, folder: Path, stop: threading.Event) -> None:
    """Start the follower, and restart it whenever it ends."""
    spawn = multiprocessing.get_context("spawn")
    while not stop.is_set():
        process = spawn.Process(target=_follow, args=(settings, folder, os.getpid()), name="follower")
        with deaf_to_interrupts():
            process.start()
        while process.is_alive() and not stop.wait(0.2):
            pass
        process.terminate()
        process.join()
        if not stop.wait(1):
            log.warning("the follower ended with %s and is started again", process.exitcode)


def _follow(settings: Settings, folder: Path, parent: int) -> None:
    _log_to_stderr()
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

    from churn_assets.serving.published import follower

    # The follower polls anyway; by default MLflow retries for minutes while its server is down.
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(1)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(10)
    stop = threading.Event()
    threading.Thread(target=_stop_when_orphaned, args=(parent, stop), daemon=True).start()
    follower.main(settings, folder, stop)


def _stop_when_orphaned(parent: int, stop: threading.Event) -> None:
    while os.getppid() == parent and not stop.wait(1):
        pass
    stop.set()


def _listen(url: str) -> socket.socket:
    parsed = urlparse(url)
    try:
        host, port = parsed.hostname, parsed.port or 8080
    except ValueError:
        host, port = None, 0
    if parsed.scheme != "http" or not host:
        raise EndpointError(f"CHURN_ENDPOINT_URL is {url}; to serve there it must be http://<host>:<port>.")
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        # create_server repeats the address in brackets.
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise EndpointError(
            f"Cannot listen on {host}:{port}: {reason}. Set CHURN_ENDPOINT_URL to a free port."
        ) from error


def _make_empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    # Alembic lists its migrations at each start.
    logging.getLogger("alembic").setLevel(logging.WARNING)


def main() -> None:
    """Run ``churn serve`` as a process."""
    _log_to_stderr()
    try:
        serve(settings_module.load())
    except ChurnError as error:
        print(f"churn: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt as interrupt:
        # Before the workers' supervisor listens to it.
        raise SystemExit(128 + signal.SIGINT) from interrupt


if __name__ == "__main__":
    main()
