"""One at a time: what runs in a process of its own, as ``churn run`` does, holds this lake's lock."""

from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from churn_assets.automation.history.instance import bury_dead_runs
from churn_assets.errors import BusyError
from churn_assets.settings import Settings

# A sensor's look at the lock takes milliseconds, and must turn nobody away.
PATIENCE_SECONDS = 0.5


class Alone:
    """Holds the lock; what an earlier, killed holder left behind is cleared away."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._lock = FileLock(_path(settings), timeout=PATIENCE_SECONDS)
        self._instance = instance

    def __enter__(self) -> None:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise BusyError(
                "Another churn run is at work on this lake. Wait for it, or see what it does: make dev."
            ) from error
        bury_dead_runs(self._instance)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def somebody_is(settings: Settings, instance: dg.DagsterInstance) -> bool:
    """Whether somebody holds the lock. If nobody does, what a killed holder left behind is cleared away."""
    if not _path(settings).exists():
        return False
    try:
        with FileLock(_path(settings), timeout=0):
            bury_dead_runs(instance)
    except Timeout:
        return True
    return False


def _path(settings: Settings) -> Path:
    folder = settings.lake_root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "churn-run.lock"
