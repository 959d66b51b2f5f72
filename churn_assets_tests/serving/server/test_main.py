"""The server as a user runs it: processes that are promoted, killed, left idle and stopped under load."""

import collections
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.settings import Settings
from churn_assets_tests.model.conftest import mlflow_state_as_it_was
from churn_assets_tests.serving.conftest import RECORD, copy_of
from churn_assets_tests.serving.malformed import malformed_bodies
from churn_assets_tests.serving.processes import (
    INVOCATIONS,
    TOKEN,
    Load,
    ServerProcess,
    command,
    environment,
    free_port,
    server_process,
    wait_until,
)

BODY = {"dataframe_records": [RECORD]}
CONFIG = f"/api/2.0/serving-endpoints/{ENDPOINT_NAME}/config"


@pytest.fixture(scope="module")
def lake_of_the_server(registered: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return copy_of(registered, tmp_path_factory.mktemp("served") / "lake")


@pytest.fixture(scope="module")
def running_server(
    lake_of_the_server: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with server_process(lake_of_the_server, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running_server: ServerProcess, lake_of_the_server: Settings) -> ServerProcess:
    """A server of two workers, which serves version 1."""
    if running_server.state()[0] != "1":
        assert running_server.client.ask("PUT", CONFIG, json=serving("1")).status_code == 200
        running_server.until_it_serves("1")
    return running_server


def serving(version: str) -> dict:
    return {"served_entities": [{"entity_name": "churn-prediction-model", "entity_version": version}]}


def promote(settings: Settings, version: str) -> None:
    with mlflow_state_as_it_was():
        registry.configure(settings)
        registry.promote(settings, version)


def test_a_promotion_and_a_way_back_under_load_fail_no_request_and_mix_no_versions(
    server: ServerProcess, lake_of_the_server: Settings, expected: dict[str, float]
):
    with Load(server.port, 8, BODY) as load:
        load.until_answered(50)
        promote(lake_of_the_server, "2")
        promoted = server.until_it_serves("2")
        load.until_answered(50)
        back_asked = time.monotonic()
        assert server.client.ask("PUT", CONFIG, json=serving("1")).status_code == 200
        back = server.until_it_serves("1")
        load.until_answered(50)

    assert load.failed == []
    for answer in load.answers:
        assert answer.content["predictions"] == [expected[answer.version]]
    after_promotion = {a.version for a in load.answers if promoted < a.begun and a.over < back_asked}
    assert after_promotion == {"2"}
    assert {answer.version for answer in load.answers if answer.begun > back} == {"1"}


def test_a_killed_worker_takes_only_its_own_connections_with_it_and_comes_back(server: ServerProcess):
    wait_until(lambda: server.metric('churn_model_version{version="1"}') == 2, "both workers hold version 1")
    with Load(server.port, 12, BODY) as load:
        load.until_answered(50)
        victim = max(server.workers(), key=lambda worker: len(clients_of(worker, server.port)))
        its_clients = clients_of(victim, server.port)
        victim.kill()
        killed = time.monotonic()
        wait_until(lambda: comes_back(server, victim.pid), "there are two workers again")
        load.until_answered(50)

    assert its_clients
    assert {answer.local_port for answer in load.failed} <= its_clients
    assert len(load.failed) <= len(its_clients)
    assert [answer for answer in load.failed if answer.error is None] == []
    others = [a for a in load.answers if a.local_port not in its_clients and a.begun > killed]
    assert len(others) > 20
    wait_until(lambda: server.metric('churn_model_version{version="1"}') == 2, "the new one holds it, too")
    ended = f"worker {victim.pid} ended with SIGKILL, as of a machine without memory; another is started"
    assert ended in server.log.read_text()


def clients_of(worker: psutil.Process, port: int) -> set[int]:
    """The ports of those whom this worker answers."""
    connections = worker.net_connections("tcp")
    return {c.raddr.port for c in connections if c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port}


def comes_back(server: ServerProcess, victim: int) -> bool:
    pids = [worker.pid for worker in server.workers()]
    return len(pids) == 2 and victim not in pids


def test_a_killed_follower_comes_back_and_follows(server: ServerProcess, lake_of_the_server: Settings):
    follower = server.follower()
    assert follower is not None
    follower.kill()
    follower.wait(5)
    promote(lake_of_the_server, "3")

    server.until_it_serves("3")

    successor = server.follower()
    assert successor is not None
    assert successor.pid != follower.pid


def test_a_thousand_malformed_bodies_get_400_and_take_no_memory(server: ServerProcess):
    def statuses(count: int, seed: int) -> collections.Counter[int]:
        with requests.Session() as session:
            headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
            url = f"http://127.0.0.1:{server.port}{INVOCATIONS}"
            answers = (
                session.post(url, data=body, headers=headers) for body in malformed_bodies(count, seed)
            )
            return collections.Counter(answer.status_code for answer in answers)

    statuses(200, seed=1)
    before = server.resident_bytes()

    assert statuses(1000, seed=2) == {400: 1000}

    assert server.resident_bytes() - before < 8e6
    assert "Traceback" not in server.log.read_text()


def test_a_second_server_of_the_lake_is_refused_in_one_line(
    server: ServerProcess, lake_of_the_server: Settings, tmp_path: Path
):
    said = refused(environment(lake_of_the_server, free_port()), tmp_path)

    assert said.startswith("churn: Another server serves this lake")
    assert server.client.post(BODY).status_code == 200


def test_a_second_server_on_the_port_is_refused_in_one_line(
    server: ServerProcess, registered: Settings, tmp_path: Path
):
    said = refused(environment(copy_of(registered, tmp_path / "other"), server.port), tmp_path)

    assert said.startswith(f"churn: Cannot listen on 127.0.0.1:{server.port}: Address already in use.")
    assert server.client.post(BODY).status_code == 200


def refused(variables: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command(), env=variables, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_server_that_is_killed_leaves_no_process_and_a_free_port(registered: Settings, tmp_path: Path):
    settings = copy_of(registered, tmp_path / "lake")
    with server_process(settings, tmp_path) as server:
        family = server.all_processes()
        assert len(family) >= 4  # itself, two workers, the follower
        server.process.kill()
        server.process.wait(5)

        wait_until(
            lambda: not any(process.is_running() for process in family), "all processes end", seconds=15
        )

    with socket.create_server(("127.0.0.1", server.port)):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 0.5, 1, 2, 4])
def test_ctrl_c_while_it_starts_ends_all_of_it_without_a_trace(
    registered: Settings, tmp_path: Path, seconds: float
):
    lake, log = copy_of(registered, tmp_path / "lake"), tmp_path / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(),
            env=environment(lake, free_port()),
            cwd=tmp_path,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    wait_until(lambda: "who is at risk" in log.read_text(), "it says where it will be", log)
    time.sleep(seconds)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(30) in (0, 128 + signal.SIGINT)
    wait_until(lambda: not any(one.is_running() for one in family), "all processes end", seconds=15)
    assert "Traceback" not in log.read_text()


def test_a_server_that_is_stopped_answers_first_what_it_was_asked(
    registered: Settings, tmp_path: Path, expected: dict[str, float]
):
    lake = copy_of(registered, tmp_path / "lake")
    with server_process(lake, tmp_path) as server, Load(server.port, 6, BODY) as load:
        load.until_answered(50)
        under_way = [begin_a_request(server.port) for _ in range(4)]
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)  # workers look for signals ten times a second
        answers = [finish(connection) for connection in under_way]
        assert server.process.wait(20) == 0

    assert answers == [(200, {"predictions": [expected["1"]]})] * 4
    # What the server had not begun to answer may be asked again elsewhere; no answer is an error, or half.
    assert [answer for answer in load.failed if not isinstance(answer.error, ConnectionError)] == []


def begin_a_request(port: int) -> http.client.HTTPConnection:
    """A request that a worker is reading, as it has said; its body is still to come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", INVOCATIONS)
    connection.putheader("authorization", f"Bearer {TOKEN}")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(json.dumps(BODY))))
    connection.putheader("expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 Continue")
    return connection


def finish(connection: http.client.HTTPConnection) -> tuple[int, dict]:
    connection.send(json.dumps(BODY).encode())
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_idle_workers_give_their_memory_back_and_the_next_request_is_answered(
    registered: Settings, tmp_path: Path, expected: dict[str, float]
):
    settings = copy_of(registered, tmp_path / "lake")
    with server_process(settings, tmp_path, CHURN_ENDPOINT_IDLE_SECONDS="2") as server:
        assert server.client.post(BODY).json() == {"predictions": [expected["1"]]}
        pids = {worker.pid for worker in server.workers()}
        loaded = server.resident_bytes()
        wait_until(
            lambda: len(server.workers()) == 2 and not pids & {worker.pid for worker in server.workers()},
            "both workers were replaced",
        )
        wait_until(lambda: server.metric("churn_scale_downs_total") >= 1, "scale-downs are counted")
        unloaded = server.resident_bytes()
        loads = server.metric("churn_model_loads_total")
        asked = time.monotonic()
        answer = server.client.post(BODY)
        seconds = time.monotonic() - asked

        assert answer.json() == {"predictions": [expected["1"]]}
        assert server.metric("churn_model_loads_total") > loads
        assert unloaded < 0.8 * loaded
        assert seconds < 5  # 1 s on an idle machine
