"""Ends the step of a launcher that is gone."""

import contextlib
import logging
import os
import shutil
import signal
import threading
from pathlib import Path

# How long an orphan's step may take to notice that it was interrupted before its process is ended.
GRACE_SECONDS = 15.0

log = logging.getLogger("churn.remote")


class Heartbeat(threading.Thread):
    """Ends this process when the launcher's heartbeat stops.

    The launcher puts a file of a new name into ``beats`` every so many seconds: one that is written over may
    be read as it was for minutes, through a volume's cache. No clock but this machine's is asked, and names
    have no order: what counts is that a listing shows one that was not seen before. Silence is counted in
    listings that came back, so one that takes a minute counts as one. An orphan takes its folder along.

    Args:
        folder: of the step.
        seconds: between two listings.
        missed: how many in a row may show nothing new.
    """

    def __init__(self, folder: Path, seconds: float, missed: int) -> None:
        super().__init__(name="churn heartbeat", daemon=True)
        self._folder = folder
        self._seconds = seconds
        self._missed = missed
        self._stopped = threading.Event()
        self.orphaned = False

    def run(self) -> None:
        """Watch the folder."""
        seen, silent = self._names(), 0
        while not self._stopped.wait(self._seconds):
            names = self._names()
            silent = 0 if names - seen else silent + 1
            seen |= names
            if silent >= self._missed:
                self._end()
                return

    def stop(self) -> None:
        """Stop watching: the step is over."""
        self._stopped.set()

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self._folder / "beats"))  # noqa: PTH208 - one call, and no stat of each file
        except OSError:
            return set()

    def _end(self) -> None:
        self.orphaned = True
        silence = self._seconds * self._missed
        log.error("The launcher has not been heard of for %.0f s: this orphan ends itself.", silence)
        shutil.rmtree(self._folder, ignore_errors=True)
        # A signal and not an exception: it also wakes a thread that waits for Spark. It lets Spark's own
        # handler cancel the jobs that run.
        with contextlib.suppress(ProcessLookupError):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if not self._stopped.wait(GRACE_SECONDS):
            log.error("The step did not stop within %.0f s: the process ends here.", GRACE_SECONDS)
            os._exit(1)
