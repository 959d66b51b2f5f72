"""A scoring server in a thread of this process, for a deployment or comparison while none is running."""

import contextlib
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from churn_assets.errors import EndpointError
from churn_assets.serving.endpoint import online_folder, page_folder
from churn_assets.serving.published import follower
from churn_assets.serving.published.state import StateFolder
from churn_assets.serving.scoring import scorer
from churn_assets.serving.server.app import make_app
from churn_assets.serving.server.connections import BoundedProtocol
from churn_assets.serving.server.options import Options
from churn_assets.settings import Settings

START_SECONDS = 60.0


@dataclass(frozen=True)
class RunningServer:
    """The address of a server, and its tokens."""

    url: str
    token: str = field(repr=False)
    admin_token: str = field(repr=False)


@contextlib.contextmanager
def temporary_server(settings: Settings) -> Iterator[RunningServer]:
    """Run the bundled server on a free port of this machine, with no version until one is deployed.

    Args:
        settings: of the lake whose registry and online features the server uses.

    Raises:
        EndpointError: the server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="churn-serving-") as folder, _free_port() as listener:
        state = StateFolder(Path(folder))
        tokens = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        options = Options(
            state.folder,
            online_folder(settings),
            page_folder(settings),
            *tokens,
            public_metrics=settings.endpoint_public_metrics,
        )
        stop = threading.Event()
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(options),
                access_log=False,
                log_level="warning",
                server_header=False,
                http=BoundedProtocol,
                ws="none",
                proxy_headers=False,
            )
        )
        threads = [
            threading.Thread(
                target=follower.main,
                args=(settings, state.folder, stop),
                # In this process, because a deployment has imported scikit-learn already.
                kwargs={"follows_production": False, "describe": scorer.describe},
            ),
            threading.Thread(target=server.run, kwargs={"sockets": [listener]}),
        ]
        for thread in threads:
            thread.start()
        try:
            _wait_for_start(server)
            host, port = listener.getsockname()[:2]
            yield RunningServer(f"http://{host}:{port}", *tokens)
        finally:
            stop.set()
            server.should_exit = True
            for thread in threads:
                thread.join()


def _wait_for_start(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > deadline:
            raise EndpointError(
                f"The temporary server does not start within {START_SECONDS:.0f} s. Run: churn doctor"
            )
        time.sleep(0.01)


def _free_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))
