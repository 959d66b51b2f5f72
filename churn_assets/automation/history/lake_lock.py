"""The lake's lock, by which commands that run the graph in their own process take turns.

A file's lock keeps processes of one machine apart. Those of several are kept apart by a lock of the database
with ``CHURN_DATABASE_URL``, and by a lease in the bucket for a lake that is in one.
"""

from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from churn_assets import advice
from churn_assets.automation.history.database_lock import DatabaseLock
from churn_assets.automation.history.dead_runs import fail_dead_cli_runs
from churn_assets.errors import BusyError
from churn_assets.lakehouse.erased_users import HOW_TO_FINISH, unfinished
from churn_assets.lease import Lease
from churn_assets.model.registry import shared_database
from churn_assets.settings import Settings

# A sensor holds the lock for milliseconds to test it; no command may be refused for that.
PATIENCE_SECONDS = 0.5


class LakeLock:
    """A context manager that holds the lock, and first fails the runs that a killed holder left behind.

    Without an instance, as where its history is damaged, those runs are left to the next holder.

    Whoever was half erased would be half in what a command computes, so none but ``to_finish`` gets it then.

    Raises:
        BusyError: on entry, another process holds the lock, or an erasure has begun and not ended.
    """

    def __init__(
        self, settings: Settings, instance: dg.DagsterInstance | None, *, to_finish: bool = False
    ) -> None:
        self._lock = FileLock(_path(settings), timeout=PATIENCE_SECONDS)
        self._settings = settings
        self._shared = DatabaseLock(settings.database) if settings.database else None
        self._lease = _lease(settings)
        self._instance = instance
        self._to_finish = to_finish

    def __enter__(self) -> None:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise BusyError(
                "Another churn run is at work on this lake. Wait for it, or see what it does: "
                f"{advice.start('dev')}."
            ) from error
        try:
            if self._lease:
                self._lease.acquire(PATIENCE_SECONDS)
                shared_database.fetch(self._settings)
            self._acquire_shared()
            self._require_whole_users()
            if self._instance:
                fail_dead_cli_runs(self._instance)
        except BaseException:
            self._release()
            raise

    def _acquire_shared(self) -> None:
        if self._shared and not self._shared.acquire():
            raise BusyError(
                "Another churn run is at work on this lake, on another machine. Wait for it, or see what it "
                f"does: {advice.start('dev')}."
            )

    def _require_whole_users(self) -> None:
        if not self._to_finish and unfinished(self._settings):
            raise BusyError(HOW_TO_FINISH)

    def __exit__(self, *_: object) -> None:
        try:
            if self._lease and not self._lease.is_lost:
                shared_database.send(self._settings)
        finally:
            self._release()

    def _release(self) -> None:
        if self._shared:
            self._shared.release()
        if self._lease:
            self._lease.release()
        self._lock.release()


def is_locked(settings: Settings, instance: dg.DagsterInstance) -> bool:
    """Whether a process holds the lock; if none does, fail the runs that a killed holder left behind.

    An erasure that has begun and not ended holds it, too.
    """
    lease = _lease(settings)
    if lease and lease.holder():
        return True
    if not settings.database and not _path(settings).exists():
        return False
    if unfinished(settings):
        return True
    shared = DatabaseLock(settings.database) if settings.database else None
    try:
        with FileLock(_path(settings), timeout=0):
            if shared and not shared.acquire():
                return True
            fail_dead_cli_runs(instance)
    except Timeout:
        return True
    finally:
        if shared:
            shared.release()
    return False


def _lease(settings: Settings) -> Lease | None:
    return Lease(settings.lake_root / ".locks" / "churn-run.lease") if settings.is_in_bucket else None


def _path(settings: Settings) -> Path:
    folder = settings.local_root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "churn-run.lock"
