"""A worker over real connections, with a store of the page and no model."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from churn_assets.serving.server.app import make_app
from churn_assets.serving.server.connections import BoundedProtocol
from churn_assets.serving.server.options import Options
from churn_assets.serving.server.sessions import COOKIE
from churn_assets_tests.serving.page.stores import publish

TOKEN, ADMIN_TOKEN = "the-token-of-scoring", "the-token-of-managing"


@dataclass(frozen=True)
class Browser:
    """Asks one server, with the cookies that it was given and without following redirects."""

    url: str
    session: requests.Session

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=30, allow_redirects=False, **options)

    def post(self, path: str, fields: Any, **options: Any) -> requests.Response:
        return self.session.post(self.url + path, data=fields, timeout=30, allow_redirects=False, **options)

    def logged_in(self, token: str = TOKEN) -> "Browser":
        assert self.post("/login", {"token": token}).headers["location"] == "/"
        assert COOKIE in self.session.cookies
        return self


@contextlib.contextmanager
def worker(root: Path) -> Iterator[str]:
    """The address of a worker in a thread."""
    options = Options(root, root / "online", root / "page", TOKEN, ADMIN_TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            make_app(options), http=BoundedProtocol, ws="none", log_level="warning", server_header=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("serving")
    publish(root / "page")
    return root


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with worker(root) as url:
        yield url


@pytest.fixture
def stranger(url: str) -> Iterator[Browser]:
    """Who has no cookie yet."""
    with requests.Session() as session:
        yield Browser(url, session)


@pytest.fixture
def browser(stranger: Browser) -> Browser:
    """Who is logged in."""
    return stranger.logged_in()
