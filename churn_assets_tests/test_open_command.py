"""``churn open``, as a person meets it: an address that answers, or what to do so that one does."""

import http.server
import json
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from churn_assets.cli import app
from churn_assets.errors import ChurnError
from churn_assets.serving.rollout.temporary_server import temporary_server
from churn_assets.settings import load
from churn_assets_tests.conftest import NOBODY_LISTENS

Open = Callable[..., Result]


class Recorder(webbrowser.BackgroundBrowser):
    """A browser with a window, which notes what it is to show."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.shown: list[str] = []

    def open(self, url: str, *_: object, **__: object) -> bool:
        self.shown.append(url)
        return True


class Webserver(http.server.BaseHTTPRequestHandler):
    """Says its version as Dagster's webserver does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"dagster_webserver_version": "1.13.27"}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def open_(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_DEPLOYMENT", "local")
    monkeypatch.setenv("CHURN_ENDPOINT_URL", NOBODY_LISTENS)
    monkeypatch.setenv("CHURN_DAGSTER_URL", NOBODY_LISTENS)
    return lambda *arguments: CliRunner().invoke(app, ["open", *arguments])


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(webbrowser, "get", lambda: recorder)
    return recorder


@pytest.fixture
def dagster_url() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Webserver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_where_nothing_is_yet_each_says_what_makes_it_and_nothing_is_opened_or_made(
    open_: Open, browser: Recorder, tmp_path: Path
) -> None:
    report, page, ui = open_().stdout.splitlines()

    assert report == "report No model is Production yet, so there is no report. Train one: churn run"
    assert page == f"page   Nobody answers at {NOBODY_LISTENS}. Start the server: churn serve"
    assert ui.startswith(f"ui     No Dagster UI answers at {NOBODY_LISTENS}. Start it: churn dev;")
    assert browser.shown == [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("what", ["report", "page", "ui"])
def test_what_is_asked_for_and_not_there_is_an_error(open_: Open, browser: Recorder, what: str) -> None:
    answer = open_(what)

    assert answer.exit_code == 1
    assert isinstance(answer.exception, ChurnError)
    assert browser.shown == []


def test_the_page_is_the_servers_and_the_token_is_named_and_not_shown(
    open_: Open, browser: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with temporary_server(load()) as server:
        monkeypatch.setenv("CHURN_ENDPOINT_URL", server.url)
        monkeypatch.setenv("CHURN_ENDPOINT_ADMIN_TOKEN", server.admin_token)
        answer = open_("page")

    assert answer.stdout == f"{server.url}/\n"
    assert answer.stderr == f"It asks for the token: {tmp_path}/lake/serving/token\n"
    assert browser.shown == [f"{server.url}/"]


def test_the_ui_is_where_dagster_answers(
    open_: Open, browser: Recorder, monkeypatch: pytest.MonkeyPatch, dagster_url: str
) -> None:
    monkeypatch.setenv("CHURN_DAGSTER_URL", dagster_url)

    assert open_("ui").stdout == f"{dagster_url}\n"
    assert browser.shown == [dagster_url]


def test_a_browser_of_the_terminal_is_not_started(
    open_: Open, monkeypatch: pytest.MonkeyPatch, dagster_url: str, tmp_path: Path
) -> None:
    # As lynx is: it would take the terminal over.
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser(["touch", "started"]))
    monkeypatch.setenv("CHURN_DAGSTER_URL", dagster_url)

    assert open_("ui").exit_code == 0
    assert [*tmp_path.iterdir()] == []
