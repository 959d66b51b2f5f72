"""Unforeseen requests: drawn from the server's own OpenAPI document, and bytes that are no HTTP."""

import random
import socket
from collections.abc import Iterator
from urllib.parse import urlparse

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.settings import Settings
from churn_assets_tests.serving.conftest import RECORD, Client, server_of
from churn_assets_tests.serving.server.test_openapi import DOCUMENT

SCORE = f"/serving-endpoints/{ENDPOINT_NAME}/invocations"

# A machine that is busy, and fixtures that no example changes.
SLOW = [
    hypothesis.HealthCheck.too_slow,
    hypothesis.HealthCheck.filter_too_much,
    hypothesis.HealthCheck.function_scoped_fixture,
]

load_all_checks()


@pytest.fixture(scope="module")
def server(registered: Settings) -> Iterator[Client]:
    """A server of version 1 that may be told anything."""
    with server_of(registered, "1") as client:
        yield client


schema = schemathesis.openapi.from_dict(DOCUMENT)


@schema.parametrize()
@hypothesis.settings(max_examples=20, derandomize=True, suppress_health_check=SLOW)
def test_every_answer_is_one_that_the_openapi_document_promises(server: Client, case: schemathesis.Case):
    case.call_and_validate(
        base_url=server.url,
        headers={"authorization": f"Bearer {server.token}"},
        # The document does not name the model's columns, so what it allows may still be refused; and the
        # check that leaves the token out would send the one given here again: see test_openapi.py.
        excluded_checks=[positive_data_acceptance, ignored_auth],
    )


def test_the_server_is_as_it_was_after_all_that(server: Client, expected: dict[str, float]):
    assert server.post({"inputs": [RECORD]}).json() == {"predictions": [expected["1"]]}


def talk(client: Client, sent: bytes) -> bytes:
    """All that the server says to these bytes."""
    parsed = urlparse(client.url)
    with socket.create_connection((parsed.hostname, parsed.port), timeout=5) as sock:
        said = b""
        try:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                said += part
        except OSError:  # it has seen enough, or waits for more
            pass
        return said


def head(client: Client, *lines: str) -> bytes:
    first = [f"POST {SCORE} HTTP/1.1", "host: here", f"authorization: Bearer {client.token}"]
    return "\r\n".join([*first, "content-type: application/json", *lines, "", ""]).encode("latin-1")


GARBAGE = [
    b"",
    b"\r\n\r\n",
    b"\x00" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /%ff%00%2e%2e/etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nhost: [\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /ping HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    b"GET /ping HTTP/1.1\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    b"A" * 1_000_000,
]


@pytest.mark.parametrize("sent", GARBAGE, ids=lambda sent: repr(sent[:30]))
def test_bytes_that_are_no_request_get_no_trace_and_no_500(server: Client, sent: bytes):
    require_decent(talk(server, sent))

    assert server.ask("GET", "/ping").status_code == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["content-length: 5"], b'{"inputs": []}'),
        (["content-length: 5000"], b'{"inputs": []}'),
        (["content-length: -1"], b"{}"),
        (["content-length: two"], b"{}"),
        (["content-length: \xb2"], b"{}"),
        (["content-length: " + "9" * 30], b"{}"),
        (["content-length: " + "9" * 5000], b"{}"),
        (["content-length: 2", "content-length: 3"], b"{}"),
        (["content-length: 2", "transfer-encoding: chunked"], b"{}"),
        (["transfer-encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n"),
        (["transfer-encoding: chunked"], b"ffffffffffffffff\r\n{}"),
        (["transfer-encoding: chunked"], b"2\r\n{}\r\n"),
        (["transfer-encoding: rot13"], b"{}"),
        (["content-encoding: gzip", "content-length: 2"], b"\x1f\x8b"),
        (["expect: 100-continue", "content-length: 2"], b"{}"),
        (["authorization: Bearer \xe9\xff", "content-length: 2"], b"{}"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_request_that_contradicts_itself_gets_no_trace_and_no_500(
    server: Client, headers: list[str], body: bytes
):
    require_decent(talk(server, head(server, *headers) + body))

    assert server.ask("GET", "/ping").status_code == 200


def test_random_bytes_and_halves_of_requests_get_no_trace_and_no_500(server: Client):
    chance = random.Random(4)
    good = head(server, "content-length: 14") + b'{"inputs": []}'
    for _ in range(150):
        broken = bytearray(good)
        for _ in range(chance.randint(1, 5)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        require_decent(talk(server, bytes(broken)))
        require_decent(talk(server, good[: chance.randrange(len(good))]))
        require_decent(talk(server, chance.randbytes(chance.randint(1, 300))))

    assert server.ask("GET", "/ping").status_code == 200


def test_a_hundred_who_say_half_a_request_and_wait_keep_nobody_else_waiting(server: Client):
    parsed = urlparse(server.url)
    waiting = [socket.create_connection((parsed.hostname, parsed.port), timeout=5) for _ in range(100)]
    try:
        for sock in waiting:
            sock.sendall(head(server, "content-length: 14")[:40])

        answer = server.post({"inputs": [RECORD]})
    finally:
        for sock in waiting:
            sock.close()

    assert answer.status_code == 200


def test_several_requests_in_one_go_are_answered_in_their_order(server: Client):
    bodies = [b'{"inputs": []}', b'{"inputs":  1}', b'{"instances":[']
    parsed = urlparse(server.url)
    said = b""
    with socket.create_connection((parsed.hostname, parsed.port), timeout=5) as sock:
        sock.sendall(b"".join(head(server, "content-length: 14") + body for body in bodies))
        while b"truncated" not in said:
            said += sock.recv(65536)

    assert said.count(b"HTTP/1.1 400 Bad Request") == 3
    assert said.index(b"has no row") < said.index(b"$.inputs") < said.index(b"truncated")


def require_decent(said: bytes) -> None:
    """No 5xx, and nothing of Python's."""
    statuses = [line.split()[1] for line in said.splitlines() if line.startswith(b"HTTP/1.")]
    assert not [status for status in statuses if status >= b"500"], said[:500]
    assert b"Traceback" not in said
    assert b".py" not in said


def test_other_peoples_pages_are_not_found(server: Client):
    for path in ("/docs", "/.env", "/token", "/serving-endpoints/../token", "/favicon.ico"):
        assert requests.get(server.url + path, timeout=5).status_code == 404
