"""MLflow's database in PostgreSQL: a schema of its own beside Dagster's tables, made when first needed."""

from pathlib import Path

from churn_assets import postgres, stored_databases
from churn_assets.errors import ModelError
from churn_assets.model.registry import mlflow_database, moved_lake
from churn_assets.postgres import Postgres

_EXPERIMENT = "SELECT artifact_location FROM experiments WHERE name = ?"
# Any number: advisory locks of a database mean what its users agree on.
_MAKING = 0x43485552


def is_whole(database: Postgres, experiment: str, left_behind: Path) -> bool:
    """Tell whether the schema is there and complete, without changing it.

    Args:
        database: with MLflow's schema.
        experiment: created last, so that a schema which has it is complete.
        left_behind: the file that would hold the lake's models without this database.

    Raises:
        DatabaseUnavailableError: there is no connection.
        ModelError: it is empty, and the lake has models in that file.
    """
    if is_made(database, experiment):
        return True
    if left_behind.exists() and _has_models(left_behind):
        raise ModelError(
            f"This lake's models are in {left_behind}, and the database {database} of CHURN_DATABASE_URL has "
            "none. Carry them over: churn migrate. To begin without them, move that file away"
        )
    return False


def is_made(database: Postgres, experiment: str) -> bool:
    """Tell whether schema, tables and experiment are there."""
    return _place(database, experiment) is not None


def ensure(database: Postgres, experiment: str, artifacts: str, left_behind: Path) -> None:
    """Create schema, tables and experiment where they are missing: seconds, else milliseconds.

    Args:
        database: with MLflow's schema.
        experiment: its name.
        artifacts: the URI of the folder for artifacts.
        left_behind: see ``is_whole``.

    Raises:
        DatabaseUnavailableError: there is no connection.
        ModelError: it is empty where the lake has models elsewhere, or holds those of another lake.
    """
    if not is_whole(database, experiment, left_behind):
        make(database, experiment, artifacts)
    _require_same_lake(database, experiment, artifacts)


def make(database: Postgres, experiment: str | None, artifacts: str) -> None:
    """Create schema, tables and, if one is named, the experiment; several processes take turns."""
    import psycopg2

    try:
        with postgres.connected(database) as look:
            look.execute("SELECT pg_advisory_lock(?)", (_MAKING,))
            look.execute(f"CREATE SCHEMA IF NOT EXISTS {database.schema}")
            if experiment is None or not is_made(database, experiment):
                mlflow_database.make(database.for_sqlalchemy(), experiment, artifacts)
    except psycopg2.errors.InsufficientPrivilege as error:
        raise ModelError(
            f"The user of CHURN_DATABASE_URL may not make the schema {database.schema} in {database}: make "
            "that user the database's owner, or: "
            f"CREATE SCHEMA {database.schema} AUTHORIZATION <user>"
        ) from error


def follow(database: Postgres, experiment: str, artifacts: str) -> str | None:
    """Let the database name the artifacts where the lake was moved to.

    Not when the registry is opened, as for a lake's own file: other machines may have the lake elsewhere.

    Returns:
        The URI under which they were before; None where nothing had moved, or was only copied.
    """
    before = _place(database, experiment)
    if not before or before == artifacts or not moved_lake.has_moved(before, artifacts):
        return None
    if (folder := moved_lake.folder_of(before)) is None or folder.is_dir():
        return None
    with postgres.connected(database) as look:
        look.execute("BEGIN")
        moved_lake.rewrite(look.execute, before, artifacts, look.has_table)
        look.execute("COMMIT")
    return before


def _place(database: Postgres, experiment: str) -> str | None:
    """Return where the experiment's artifacts are, None where it is not there."""
    with stored_databases.reading(database) as look:
        if not stored_databases.has_table(look, f"{database.schema}.experiments"):
            return None
        found = look.execute(_EXPERIMENT, (experiment,)).fetchone()
    return None if found is None else found[0] or ""


def _has_models(path: Path) -> bool:
    with stored_databases.reading(path) as look:
        if not stored_databases.has_table(look, "model_versions"):
            return False
        return look.execute("SELECT 1 FROM model_versions").fetchone() is not None


def _require_same_lake(database: Postgres, experiment: str, artifacts: str) -> None:
    """Refuse a database whose models are another lake's: their numbers would be mixed with this one's."""
    place = _place(database, experiment)
    if not place or place == artifacts or not moved_lake.has_moved(place, artifacts):
        return
    raise ModelError(
        f"The database {database} of CHURN_DATABASE_URL has models whose files are in "
        f"{moved_lake.folder_of(place)}, and this lake's are in {moved_lake.folder_of(artifacts)}. Each lake "
        "needs a database of its own; after this one was moved: churn migrate"
    )
