"""What the server says of a worker that ends."""

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from uvicorn import Config
from uvicorn.supervisors.multiprocess import SIGNALS, Process

from churn_assets.serving.server.workers import Workers


class EndsSlowly(Process):
    """Closes its pipes, as the kernel does for whoever is killed, and counts as ended half a second later."""

    def target(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # uvicorn hands it over
        os.closerange(3, 1024)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def workers() -> Iterator[Workers]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Workers(Config("an_app:that_nobody_asks", workers=1), listener)
        yield made
        for worker in made.processes:
            worker.kill()
            worker.join()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_killed_worker_is_not_called_silent_while_it_still_ends(
    workers: Workers, caplog: pytest.LogCaptureFixture
):
    killed = EndsSlowly(workers.config, workers.sockets)
    killed.start()
    workers.processes = [killed]
    time.sleep(0.1)

    with caplog.at_level(logging.INFO, "churn.serve"):
        workers.keep_subprocess_alive()

    assert [said.getMessage() for said in caplog.records if said.name == "churn.serve"] == [
        f"worker {killed.pid} ended with SIGKILL, as of a machine without memory; another is started"
    ]
    assert workers.processes[0] is not killed
