"""Heads that are too large, too slow or never come, and more connections than a worker holds."""

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlparse

import pytest
import requests

from churn_assets.serving.server import app, connections
from churn_assets.settings import Settings
from churn_assets_tests.serving.conftest import RECORD, Client, server_of

HEAD = b"GET /ping HTTP/1.1\r\nhost: here\r\n"
KILOBYTE = 1024


@pytest.fixture(scope="module")
def server(registered: Settings) -> Iterator[Client]:
    """A server of this module, on which some tests shorten the bounds."""
    with server_of(registered, "1") as client:
        yield client


def connected(client: Client) -> socket.socket:
    parsed = urlparse(client.url)
    return socket.create_connection((parsed.hostname, parsed.port), timeout=10)


def what_comes(sock: socket.socket) -> str:
    """All that the server says until it closes the connection."""
    said = b""
    try:
        while part := sock.recv(4096):
            said += part
    except ConnectionResetError:
        pass
    return said.decode()


def is_open(sock: socket.socket) -> bool:
    sock.settimeout(0.05)
    try:
        return sock.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x-filler: a\r\n" * 3000,
        HEAD + b"x-filler: " + b"a" * 33 * KILOBYTE + b"\r\n\r\n",
        b"GET /" + b"a" * 33 * KILOBYTE,
        HEAD + b"x-filler: " + b"a" * 33 * KILOBYTE,
    ],
    ids=["headers without end", "a whole head", "a path without end", "a header without end"],
)
def test_a_head_that_is_too_large_is_431_without_a_token(server: Client, head: bytes):
    with connected(server) as sock:
        sock.sendall(head)
        answer = what_comes(sock)

    assert answer.startswith("HTTP/1.1 431 ")
    assert '"error_code":"REQUEST_HEADER_FIELDS_TOO_LARGE"' in answer


def test_a_head_that_grows_too_large_after_an_answer_is_431(server: Client):
    with connected(server) as sock:
        sock.sendall(HEAD + b"\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        sock.sendall(HEAD + b"x-filler: " + b"a" * 33 * KILOBYTE)
        answer = what_comes(sock)

    assert answer.startswith("HTTP/1.1 431 ")


def test_what_is_no_http_is_400_in_the_shape_of_all_errors(server: Client):
    with connected(server) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = what_comes(sock)

    assert answer.startswith("HTTP/1.1 400 ")
    assert '"error_code":"BAD_REQUEST"' in answer


def test_a_large_head_within_the_bound_and_two_requests_at_once_are_answered(server: Client):
    assert (
        requests.get(f"{server.url}/ping", headers={"x": "a" * 30 * KILOBYTE}, timeout=5).status_code == 200
    )
    with connected(server) as sock:
        sock.sendall(HEAD + b"\r\n" + HEAD + b"connection: close\r\n\r\n")
        assert what_comes(sock).count("HTTP/1.1 200 ") == 2


def test_a_large_body_before_a_next_head_is_no_head(server: Client):
    body = b'{"dataframe_records": []}' + b" " * 200 * KILOBYTE
    head = f"POST /invocations HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {server.token}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with connected(server) as sock:
        sock.sendall(head.encode() + body + HEAD[:20])
        time.sleep(0.2)
        sock.sendall(HEAD[20:] + b"connection: close\r\n\r\n")
        answer = what_comes(sock)

    assert answer.startswith("HTTP/1.1 400 ")
    assert answer.count("HTTP/1.1 200 ") == 1


def test_a_head_that_does_not_end_is_408_and_silence_is_closed(
    server: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with connected(server) as slow, connected(server) as silent:
        slow.sendall(HEAD)
        assert what_comes(slow).startswith("HTTP/1.1 408 ")
        assert what_comes(silent) == ""


def test_who_was_answered_and_goes_on_with_a_body_is_closed(server: Client, monkeypatch: pytest.MonkeyPatch):
    """Its answer is 401, so nobody waits for the rest."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with connected(server) as sock:
        sock.sendall(b"POST /invocations HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000\r\n\r\n")
        deadline, said = time.monotonic() + 10, b""
        sock.settimeout(0.05)
        while time.monotonic() < deadline:
            try:
                sock.sendall(b" ")
                if not (part := sock.recv(4096)):
                    break
                said += part
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it goes on")

    assert said.startswith(b"HTTP/1.1 401 ")


def test_above_the_limit_who_waits_longest_gives_way_and_requests_do_not(
    registered: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(app, "Waiting", lambda _: connections.Waiting(8))
    with server_of(registered, "1") as client:
        busy = connected(client)
        head = f"POST /invocations HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {client.token}\r\n"
        busy.sendall(f"{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n".encode())
        time.sleep(0.2)
        idle = [connected(client) for _ in range(20)]
        time.sleep(0.2)

        assert client.post({"inputs": [RECORD]}).status_code == 200
        assert [is_open(sock) for sock in idle[:10]] == [False] * 10
        assert is_open(idle[-1])
        busy.sendall(b'{"inputs": []}' + b" " * 86)
        assert busy.recv(4096).startswith(b"HTTP/1.1 400 ")
        for sock in (busy, *idle):
            sock.close()
