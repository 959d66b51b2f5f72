"""MLflow's runs and models from the lake's own file into ``CHURN_DATABASE_URL``, in one transaction."""

from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets import stored_databases
from churn_assets.errors import ModelError
from churn_assets.model.registry import mlflow_postgres, moved_lake, registry
from churn_assets.model.registry.quiet import quieten, without_deprecations
from churn_assets.postgres import Postgres
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

# Rows at once; a metric of each step of each candidate is one.
ROWS = 2000


def carry_over(settings: Settings, *, dry_run: bool = False) -> str | None:
    """Make MLflow's tables in PostgreSQL, with what the lake's own file has, if they are not there.

    Args:
        settings: of the lake. Its file stays as it is, and nothing reads it any more.
        dry_run: only say what would be done.

    Returns:
        What was done or would be, in a sentence; None where nothing is to be done.

    Raises:
        DatabaseUnavailableError: there is no connection.
        ModelError: file and database are of different releases of MLflow, or the database is another lake's.
    """
    place = registry.database(settings)
    if not isinstance(place, Postgres):
        return None
    experiment, artifacts, file = (
        registry.experiment_name(settings),
        settings.mlflow_artifact_root,
        registry.own_file(settings),
    )
    if mlflow_postgres.is_made(place, experiment):
        if not dry_run and (before := mlflow_postgres.follow(place, experiment, artifacts)):
            return f"models in {place} are now looked for in {artifacts}, and no longer in {before}"
        return None
    what = f"MLflow's runs and models from {file}" if file.exists() else "nothing: the lake has no models yet"
    if dry_run:
        return f"{place} would get MLflow's tables, with {what}"
    quieten()
    if file.exists():
        moved_lake.follow(file, experiment, artifacts)
    # Without the experiment, by which it is known as complete, until its models are there.
    mlflow_postgres.make(place, None if file.exists() else experiment, artifacts)
    if file.exists():
        _copy(file, place)
    return f"{place} has MLflow's tables, with {what}"


def _copy(file: Path, place: Postgres) -> None:
    _require_same_revision(file, place)
    with without_deprecations():
        # Their tables, with the types that differ between the two.
        import mlflow.store.model_registry.dbmodels.models
        import mlflow.store.tracking.dbmodels.models  # noqa: F401 - it fills Base
        import sqlalchemy as sa
        from mlflow.store.db.base_sql_model import Base

        source, target = sa.create_engine(f"sqlite:///{file}"), sa.create_engine(place.for_sqlalchemy())
        tables = Base.metadata.sorted_tables
        # All or nothing: a kill leaves what was there.
        with source.connect() as there, target.begin() as here:
            # What MLflow has just made by itself.
            for table in reversed(tables):
                here.execute(table.delete())
            for table in tables:
                for rows in there.execution_options(yield_per=ROWS).execute(table.select()).partitions():
                    here.execute(table.insert(), [dict(row._mapping) for row in rows])
                _go_on_counting(table, here)
        source.dispose()
        target.dispose()


def _require_same_revision(file: Path, place: Postgres) -> None:
    revisions = []
    for one in (file, place):
        with stored_databases.reading(one) as found:
            revisions.append(found.execute("SELECT version_num FROM alembic_version").fetchall())
    if revisions[0] != revisions[1]:
        raise ModelError(
            f"The MLflow database {file} is of another release of MLflow than this one. Bring it up to date, "
            f"and try again: mlflow db upgrade sqlite:///{file}"
        )


def _go_on_counting(table: "Table", here: "Connection") -> None:
    """Let a column that PostgreSQL numbers go on after the numbers that were copied."""
    import sqlalchemy as sa

    for column in table.primary_key.columns:
        if not isinstance(column.type, sa.Integer):
            continue
        sequence = here.scalar(
            sa.text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table.name, "c": column.name}
        )
        last = here.scalar(sa.select(sa.func.max(column))) if sequence else None
        if last is not None and last > 0:
            here.execute(sa.text("SELECT setval(:s, :last)"), {"s": sequence, "last": last})
