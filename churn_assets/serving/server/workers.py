"""uvicorn's supervisor of the workers, which also says when one ends and why."""

import logging
import signal
import socket

from uvicorn import Config
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger("churn.serve")

# What a worker ends with that was idle, or was told to.
AS_ASKED = (0, -signal.SIGTERM)

# A worker answers the supervisor from a thread of its own, which waits only while another holds Python's
# lock: the largest body that is taken holds it for about a second, and for several on a busy machine.
HEALTH_SECONDS = 30


class Workers(Multiprocess):
    """The worker processes of one server."""

    def __init__(self, config: Config, listener: socket.socket) -> None:
        super().__init__(config, [listener])

    def keep_subprocess_alive(self) -> None:
        """Start another worker for each that has ended or does not answer, and say so."""
        before = list(self.processes)
        had_ended = {process for process in before if not process.process.is_alive()}
        super().keep_subprocess_alive()
        for process in before:
            if process not in self.processes:
                self._tell(process, was_killed=process not in had_ended)

    def _tell(self, process: Process, *, was_killed: bool) -> None:
        if was_killed and process.exitcode == -signal.SIGKILL:
            # It may also have been killed by another in the very moment of the check.
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
