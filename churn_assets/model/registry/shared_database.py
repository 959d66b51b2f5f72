"""MLflow's own database of a lake in a bucket: a file of the machine at work, and a copy of it in the bucket.

SQLite needs a file system. So whoever holds the lake's lock begins with the bucket's copy and ends by sending
its own: machines that take turns share one registry, and a bucket that was copied or renamed is a whole lake.
Several at once, or a server elsewhere that follows promotions, need a database server (MLFLOW_TRACKING_URI).
"""

import hashlib
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from churn_assets import bucket, sqlite_files
from churn_assets.errors import LakeError
from churn_assets.settings import MLFLOW_DATABASE, SQLITE, Settings

NOTE = ".mlflow.db.shared"


class _Shared(NamedTuple):
    """The bucket's copy when this machine last had the same: its tag, and the digest of the local content."""

    tag: str
    digest: str


def fetch(settings: Settings) -> bool:
    """Bring the bucket's copy here if it is newer than this machine's file; return whether it was.

    Raises:
        LakeError: both have changed since they were the same; says what to do.
    """
    if not _is_shared(settings):
        return False
    found = bucket.read(_copy(settings))
    if found is None:
        return False
    local, noted = settings.mlflow_folder / MLFLOW_DATABASE, _noted(settings)
    if local.exists():
        if noted and noted.tag == found.tag:
            return False
        if noted is None or noted.digest != _digest(_content(local)):
            raise LakeError(
                f"MLflow's database {local} has trainings that the bucket's copy, {_copy(settings)}, has "
                "not, and the other way round: another machine has worked on this lake since this one died. "
                f"To go on with the bucket's, move {local} away."
            )
    local.parent.mkdir(parents=True, exist_ok=True)
    draft = local.with_name(f".{local.name}-fetched")
    draft.write_bytes(found.content)
    for companion in (f"{local.name}-wal", f"{local.name}-shm"):
        local.with_name(companion).unlink(missing_ok=True)
    draft.replace(local)
    _note(settings, found.tag, found.content)
    return True


def send(settings: Settings, *, always: bool = False) -> bool:
    """Send this machine's file to the bucket if it has changed; return whether it was sent.

    Args:
        settings: of the lake.
        always: send it whatever has changed: what the bucket has may keep, in free pages, what is deleted.
    """
    local = settings.mlflow_folder / MLFLOW_DATABASE
    if not _is_shared(settings) or not local.exists():
        return False
    content, noted = _content(local), _noted(settings)
    if not always and noted and noted.digest == _digest(content):
        return False
    _copy(settings).write_bytes(content)
    if sent := bucket.read(_copy(settings)):
        _note(settings, sent.tag, content)
    return True


def _is_shared(settings: Settings) -> bool:
    own = f"{SQLITE}{settings.mlflow_folder / MLFLOW_DATABASE}"
    return settings.is_in_bucket and settings.mlflow_tracking_uri == own


def _copy(settings: Settings) -> Path:
    return settings.lake_root / "mlflow" / MLFLOW_DATABASE


def _content(database: Path) -> bytes:
    """Return the file as it is after its journal, and between two transactions."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / MLFLOW_DATABASE
        with sqlite_files.reading(database) as source, closing(sqlite3.connect(copied)) as target:
            source.backup(target)
        return copied.read_bytes()


def _digest(content: bytes) -> str:
    # Of what the database says. SQLite counts in its header who opened it how often.
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(content)
        return hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()


def _noted(settings: Settings) -> _Shared | None:
    try:
        return _Shared(**json.loads((settings.mlflow_folder / NOTE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _note(settings: Settings, tag: str, content: bytes) -> None:
    note = _Shared(tag, _digest(content))
    (settings.mlflow_folder / NOTE).write_text(json.dumps(note._asdict()))
