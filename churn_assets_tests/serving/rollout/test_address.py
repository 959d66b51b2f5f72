"""Who answers at CHURN_ENDPOINT_URL, asked of servers that really listen there."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from churn_assets.errors import EndpointError
from churn_assets.serving.endpoint import state_folder
from churn_assets.serving.rollout.address import is_running, require_ours
from churn_assets.serving.rollout.clients import BundledEndpoint
from churn_assets.serving.rollout.endpoint_status import endpoint_status
from churn_assets.serving.rollout.temporary_server import RunningServer, temporary_server
from churn_assets.settings import Settings
from churn_assets_tests.conftest import NOBODY_LISTENS, MakeSettings

A_FREE_ADDRESS = r"Set CHURN_ENDPOINT_URL to http://127\.0\.0\.1:\d+, which is free"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(deployment="local")


@pytest.fixture
def another_lakes(settings: Settings) -> Iterator[RunningServer]:
    """A scoring server with tokens of its own."""
    with temporary_server(settings) as server:
        yield server


def at(settings: Settings, url: str, **tokens: str) -> Settings:
    return settings.model_copy(update={"endpoint_url": url, **tokens})


class ThatAnswers(http.server.BaseHTTPRequestHandler):
    """Any other program: it has an answer to /ping, or nothing at all."""

    answers_ping = True

    def do_GET(self) -> None:
        self.send_response(200 if self.answers_ping and self.path == "/ping" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


class ThatAnswersNothing(ThatAnswers):
    answers_ping = False


@contextmanager
def program(handler: type[ThatAnswers]) -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_where_nobody_listens_nothing_is_in_the_way_and_no_token_is_made(settings: Settings) -> None:
    there = at(settings, NOBODY_LISTENS)

    require_ours(there)

    assert not is_running(there)
    assert not state_folder(there).exists()


def test_this_lakes_own_server_is_running(settings: Settings, another_lakes: RunningServer) -> None:
    ours = at(settings, another_lakes.url, endpoint_admin_token=another_lakes.admin_token)

    require_ours(ours)

    assert is_running(ours)


def test_another_lakes_server_is_called_that_and_a_free_address_is_named(
    settings: Settings, another_lakes: RunningServer
) -> None:
    there = at(settings, another_lakes.url)
    says = rf"^Another lake's server answers at {another_lakes.url}: .*{A_FREE_ADDRESS}"

    with pytest.raises(EndpointError, match=says):
        require_ours(there)
    # As a deployment by Dagster's daemon meets it, which nobody asked before.
    with pytest.raises(EndpointError, match=says), BundledEndpoint(there).open():
        pass
    assert endpoint_status(there).state == "refused"


def test_the_address_that_is_named_is_free(settings: Settings, another_lakes: RunningServer) -> None:
    with pytest.raises(EndpointError) as refused:
        require_ours(at(settings, another_lakes.url))

    named = re.search(r"http://127\.0\.0\.1:\d+(?=, which)", str(refused.value))
    assert named
    require_ours(at(settings, named.group()))


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (ThatAnswersNothing, "/ping answers 404, so it is no churn serve"),
        (ThatAnswers, " serves no churn-prediction-endpoint, so it is no churn serve"),
    ],
)
def test_another_program_is_no_churn_serve(settings: Settings, handler: type[ThatAnswers], says: str) -> None:
    with program(handler) as url:
        there = at(settings, url)
        with pytest.raises(EndpointError, match=rf"^{url}{says}\. {A_FREE_ADDRESS}"):
            require_ours(there)
        assert endpoint_status(there).state == "another program"
