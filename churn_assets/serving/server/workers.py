"""uvicorn's supervisor of the workers, which also says when one ends and why."""

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger("churn.serve")

# What a worker ends with that was idle, or was told to.
AS_ASKED = (0, -signal.SIGTERM)

# A worker answers the supervisor from a thread of its own, which waits only while another holds Python's
# lock: the largest body that is taken holds it for about a second, and for several on a busy machine.
HEALTH_SECONDS = 30

# Pipes of a process that ends close a moment before it counts as ended; one that leaves a core takes longer.
ENDING_SECONDS = 5


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile never get SIGINT, which they inherit as blocked.

    Ctrl-C reaches the whole process group, and one that still imports would print where it was. The server
    itself ends them, with SIGTERM.
    """
    # A process of multiprocessing's own, whose first start would let interrupts through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers(Multiprocess):
    """The worker processes of one server."""

    def __init__(self, config: Config, listener: socket.socket) -> None:
        super().__init__(config, [listener])

    def init_processes(self) -> None:
        """Start as many as the configuration says."""
        with deaf_to_interrupts():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Start another worker for each that has ended or does not answer, and say so.

        uvicorn's own waits all of the time for the answer of a worker that ends in just that moment.
        """
        for place, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if worker.process.is_alive() and self._answers(worker):
                continue
            was_killed = worker.process.is_alive()
            worker.kill()
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:
                # Another would fail the same way.
                log.error("worker %s cannot start; the server ends", worker.pid)
                self.should_exit.set()
                return
            self._tell(worker, was_killed=was_killed)
            self.processes[place] = Process(self.config, self.sockets)
            with deaf_to_interrupts():
                self.processes[place].start()

    def _answers(self, worker: Process) -> bool:
        """Ask a worker whether it lives; False once it has ended, or after the time that it is given."""
        # Its pipes are closed where it ends.
        with suppress(OSError, EOFError):
            worker.parent_conn.send(b"ping")
            ready = wait(
                [worker.parent_conn, worker.process.sentinel], self.config.timeout_worker_healthcheck
            )
            if not ready:
                return False
            if worker.parent_conn in ready:
                worker.parent_conn.recv()
                return True
        worker.process.join(ENDING_SECONDS)
        return False

    def _tell(self, process: Process, *, was_killed: bool) -> None:
        if was_killed:
            how, level = (
                f"did not answer for {self.config.timeout_worker_healthcheck} s and was killed",
                logging.ERROR,
            )
        else:
            level = logging.INFO if process.exitcode in AS_ASKED else logging.ERROR
            how = f"ended with {_described(process.exitcode)}"
        log.log(level, "worker %s %s; another is started", process.pid, how)


def _described(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    hints = {
        signal.SIGKILL: ", as of a machine without memory",
        signal.SIGBUS: ", as of a disk without room",
    }
    return name + hints.get(signal.Signals(-exitcode), "")
