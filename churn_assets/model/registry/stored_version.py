"""The Production version by the registry's database alone, for commands that only look at it.

Importing MLflow and opening its store take four seconds. Its tables are no interface, so this reads only
one of the revision that it knows: any other is for MLflow itself.
"""

import datetime as dt
import math
from typing import NamedTuple

from churn_assets import stored_databases
from churn_assets.stored_databases import Place, UnreadableDatabaseError

# Of MLflow 3.17, by Alembic.
KNOWN_REVISION = "dc11669786a5"

_VERSION = """
SELECT version.version, version.run_id, version.creation_time
FROM registered_model_aliases AS alias
JOIN model_versions AS version USING (workspace, name, version)
WHERE workspace = 'default' AND name = ? AND alias.alias = ? AND version.current_stage != 'Deleted_Internal'
"""
_METRICS = "SELECT key, CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics WHERE run_uuid = ?"
_TAGS = "SELECT key, value FROM tags WHERE run_uuid = ?"


class ProductionVersion(NamedTuple):
    """A registered version, when it was registered (UTC), and its training's run, metrics and tags."""

    version: str
    created_at: dt.datetime
    run_id: str | None
    metrics: dict[str, float]
    tags: dict[str, str]


class UnknownRevisionError(Exception):
    """It is of another release of MLflow, or is not complete."""


def stored_version(database: Place, model: str, alias: str) -> ProductionVersion | None:
    """Return the version that an alias names, None where there is none.

    Raises:
        UnknownRevisionError: MLflow itself must be asked.
    """
    try:
        with stored_databases.reading(database) as connection:
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if revisions != [(KNOWN_REVISION,)]:
                raise UnknownRevisionError(f"{database} is of {revisions}")
            found = connection.execute(_VERSION, (model, alias)).fetchone()
            if found is None:
                return None
            version, run_id, milliseconds = found
            metrics = {
                key: math.nan if value is None else value
                for key, value in connection.execute(_METRICS, (run_id,))
            }
            tags = dict(connection.execute(_TAGS, (run_id,)).fetchall())
    except UnreadableDatabaseError as error:
        raise UnknownRevisionError(str(error)) from error
    created_at = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return ProductionVersion(str(version), created_at, run_id or None, metrics, tags)
