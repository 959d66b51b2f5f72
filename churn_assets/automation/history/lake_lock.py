"""The lake's lock, by which commands that run the graph in their own process take turns.

A file keeps processes of this machine apart and, for a lake in a bucket, a lease in it those of all machines.
"""

from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from churn_assets.automation.history.dead_runs import fail_dead_cli_runs
from churn_assets.errors import BusyError
from churn_assets.lease import Lease
from churn_assets.model.registry import shared_database
from churn_assets.settings import Settings

# A sensor holds the lock for milliseconds to test it; no command may be refused for that.
PATIENCE_SECONDS = 0.5


class LakeLock:
    """A context manager that holds the lock, and first fails the runs that a killed holder left behind.

    Without an instance, as where its history is damaged, those runs are left to the next holder.

    Raises:
        BusyError: on entry, another process holds the lock.
    """

    def __init__(self, settings: Settings, instance: dg.DagsterInstance | None) -> None:
        self._lock = FileLock(_path(settings), timeout=PATIENCE_SECONDS)
        self._settings = settings
        self._lease = _lease(settings)
        self._instance = instance

    def __enter__(self) -> None:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise BusyError(
                "Another churn run is at work on this lake. Wait for it, or see what it does: make dev."
            ) from error
        try:
            if self._lease:
                self._lease.acquire(PATIENCE_SECONDS)
                shared_database.fetch(self._settings)
            if self._instance:
                fail_dead_cli_runs(self._instance)
        except BaseException:
            self._release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            if self._lease and not self._lease.is_lost:
                shared_database.send(self._settings)
        finally:
            self._release()

    def _release(self) -> None:
        if self._lease:
            self._lease.release()
        self._lock.release()


def is_locked(settings: Settings, instance: dg.DagsterInstance) -> bool:
    """Whether a process holds the lock; if none does, fail the runs that a killed holder left behind."""
    lease = _lease(settings)
    if lease and lease.holder():
        return True
    if not _path(settings).exists():
        return False
    try:
        with FileLock(_path(settings), timeout=0):
            fail_dead_cli_runs(instance)
    except Timeout:
        return True
    return False


def _lease(settings: Settings) -> Lease | None:
    return Lease(settings.lake_root / ".locks" / "churn-run.lease") if settings.is_in_bucket else None


def _path(settings: Settings) -> Path:
    folder = settings.local_root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "churn-run.lock"
