"""An MLflow database in a file: made under another name and renamed, so that it is never there in part.

MLflow migrates a new file through fifty schemas, each in several statements that SQLite commits one by one;
killed in between, it refuses the file ever after ("table _alembic_tmp_… already exists").
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from churn_assets.errors import ModelError
from churn_assets.model.registry.quiet import without_deprecations

# A database without a row in these tables, and without an experiment of the user's, holds nothing to keep.
WORTH_KEEPING = ("runs", "registered_models", "model_versions", "logged_models", "trace_info")
DEFAULT_EXPERIMENT = "Default"

HALF_MADE = "half-made"

BUSY_SECONDS = 60


def is_whole(path: Path, experiment: str) -> bool:
    """Tell whether the database is there and complete, without changing it.

    Args:
        path: of the file.
        experiment: created last, so that a database which has it is complete.

    Raises:
        ModelError: it is half migrated and holds runs or models.
    """
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
            tables = {
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            half_migrated = sorted(name for name in tables if name.startswith("_alembic_tmp_"))
            experiments = _experiments(database, tables)
            if not half_migrated and experiment in experiments:
                return True
            holds = [name for name in WORTH_KEEPING if name in tables and _has_rows(database, name)]
    except sqlite3.DatabaseError as error:
        raise ModelError(
            f"The MLflow database {path} cannot be read ({error}). Restore it from a backup; without one: "
            "churn repair mlflow, and the next churn run makes another, without the models of this one."
        ) from error
    if not holds and not experiments - {DEFAULT_EXPERIMENT}:
        return False
    if half_migrated:
        raise ModelError(
            f"The MLflow database {path} is half migrated (it has a table {half_migrated[0]}) and holds "
            f"{', '.join(holds) or 'experiments'}. Restore a backup, or drop that table and run: "
            f"mlflow db upgrade sqlite:///{path}"
        )
    # The user made it, and MLflow migrates it.
    return True


def ensure(path: Path, experiment: str, artifacts: str, name_in_url: Path) -> None:
    """Create the database and its experiment where they are missing: 2 s, or milliseconds if they are there.

    Args:
        path: of the file. A half-made one that holds nothing is moved aside.
        experiment: its name.
        artifacts: the URI of the folder for artifacts.
        name_in_url: the file's folder by a name that may stand in a URL.

    Raises:
        ModelError: it is half migrated and holds runs or models, or is no database.
    """
    if is_whole(path, experiment):
        return
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if is_whole(path, experiment):
            return
        if path.exists():
            # Its journal has been played back by the connection in ``is_whole``.
            path.replace(path.with_name(f"{path.name}.{HALF_MADE}"))
        draft = f".{path.name}-new"
        for left in path.parent.glob(f"{draft}*"):
            left.unlink()
        make(f"sqlite:///{name_in_url / draft}", experiment, artifacts)
        path.with_name(draft).replace(path)


def make(uri: str, experiment: str | None, artifacts: str) -> None:
    """Create tables and, if one is named, the experiment in a database given as SQLAlchemy's URL."""
    with without_deprecations():
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        store = SqlAlchemyStore(uri, artifacts)
        if experiment:
            store.create_experiment(experiment, artifact_location=artifacts)
        store.engine.dispose()


def _experiments(database: sqlite3.Connection, tables: set[str]) -> set[str]:
    if "experiments" not in tables:
        return set()
    return {name for (name,) in database.execute("SELECT name FROM experiments")}


def _has_rows(database: sqlite3.Connection, table: str) -> bool:
    return database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None  # noqa: S608 - our own names
