"""A server for the length of a check, where none is running: the same application, in a thread."""

import contextlib
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from churn_assets.errors import EndpointError
from churn_assets.model.registry import registry
from churn_assets.serving.contract import online_folder
from churn_assets.serving.published import follower
from churn_assets.serving.published.state import Config, Entity, StateFolder
from churn_assets.serving.scoring import scorer
from churn_assets.serving.server.app import make_app
from churn_assets.serving.server.options import Options
from churn_assets.settings import Settings

START_SECONDS = 60.0


@dataclass(frozen=True)
class RunningServer:
    """Where it listens, and the token that it wants."""

    url: str
    token: str = field(repr=False)


@contextlib.contextmanager
def temporary_server(settings: Settings, version: str | None = None) -> Iterator[RunningServer]:
    """Run the bundled server on a free port of this machine.

    Args:
        settings: of the lake whose registry and online features it uses.
        version: what it serves from the start; None leaves that to a deployer.

    Raises:
        EndpointError: it does not start, or the version cannot be served.
    """
    with tempfile.TemporaryDirectory(prefix="churn-serving-") as folder, _free_port() as listener:
        state = StateFolder(Path(folder))
        options = Options(state.folder, online_folder(settings), secrets.token_urlsafe(32))
        stop = threading.Event()
        server = uvicorn.Server(
            uvicorn.Config(make_app(options), access_log=False, log_level="warning", server_header=False)
        )
        threads = [
            threading.Thread(
                target=follower.main,
                args=(settings, state.folder, stop),
                # scikit-learn is in this process anyway: whoever deploys has MLflow open.
                kwargs={"follows_production": False, "describe": scorer.describe},
            ),
            threading.Thread(target=server.run, kwargs={"sockets": [listener]}),
        ]
        for thread in threads:
            thread.start()
        try:
            _wait_for(lambda: server.started, "The temporary server does not start")
            if version:
                _serve(settings, state, version)
            host, port = listener.getsockname()[:2]
            yield RunningServer(f"http://{host}:{port}", options.token)
        finally:
            stop.set()
            server.should_exit = True
            for thread in threads:
                thread.join()


def _serve(settings: Settings, state: StateFolder, version: str) -> None:
    state.request_update(Config(Entity(registry.registered_model_name(settings), version)))
    _wait_for(lambda: state.pending_update() is None, f"Version {version} is not published")
    endpoint = state.read()
    if endpoint.update == "UPDATE_FAILED":
        raise EndpointError(endpoint.message)


def _wait_for(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise EndpointError(f"{otherwise} within {START_SECONDS:.0f} s. Run: churn doctor")
        time.sleep(0.01)


def _free_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))
