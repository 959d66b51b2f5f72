"""The databases of Dagster and MLflow, and Dagster's configuration."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import yaml

from churn_assets import sqlite_files, stored_databases
from churn_assets.errors import one_line
from churn_assets.postgres import DatabaseUnavailableError, Postgres
from churn_assets.settings import Settings
from churn_assets.stored_databases import Place, UnreadableDatabaseError
from churn_assets.verification.findings import MODEL, Finding, damaged, well

CONFIGURATION = "dagster.yaml"

REPAIR_MLFLOW = "restore it from a backup; without one, models are trained anew after: churn repair mlflow"
REPAIR_DAGSTER = "churn repair dagster"


def mlflow_database(settings: Settings, path: Place | None, *, deep: bool = False) -> Finding | None:
    """Look at MLflow's database; None where a server has it, or it is not there yet."""
    if isinstance(path, Postgres):
        return _answers(path, "MLflow's runs and models", "experiments")
    if path is None or not path.exists():
        return None
    if says := database_damage(path, deep=deep):
        needed_by = (MODEL, "churn_predictions", "churn rollback", "churn reproduce")
        return damaged(_name(settings, path), f"MLflow's database {says}", REPAIR_MLFLOW, needed_by)
    return well(_name(settings, path), "MLflow's database can be read")


def dagster_history(settings: Settings, *, deep: bool = False) -> Iterator[Finding]:
    """Look at Dagster's databases and configuration.

    Args:
        settings: say where they are.
        deep: look at every page, and at each run's own file.
    """
    found = list(damaged_history(settings, deep=deep))
    for path, says in found:
        yield damaged(
            _name(settings, path),
            says,
            REPAIR_DAGSTER,
            ("churn runs", "churn dev"),
        )
    if settings.database:
        if answer := _answers(settings.database, "Dagster's history", "event_logs"):
            yield answer
    elif not found and (settings.dagster_home_folder / CONFIGURATION).exists():
        yield well("Dagster's history", "can be read")


def damaged_history(settings: Settings, *, deep: bool = False) -> Iterator[tuple[Path, str]]:
    """Yield Dagster's files that are damaged, each with what is wrong; PostgreSQL looks after its own."""
    home = settings.dagster_home_folder
    configuration = home / CONFIGURATION
    if configuration.exists():
        try:
            yaml.safe_load(configuration.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            yield configuration, f"Dagster's configuration cannot be read: {one_line(error, max_length=120)}"
    for path in () if settings.database else history_databases(home, every_run=deep):
        if says := database_damage(path, deep=deep):
            yield path, f"a database of Dagster's history {says}"


def history_databases(home: Path, *, every_run: bool = False) -> list[Path]:
    """Return the files of Dagster's history that exist; with ``every_run`` those of single runs, too."""
    runs = home / "history" / "runs"
    main = [home / "history" / "runs.db", runs / "index.db", home / "schedules" / "schedules.db"]
    single = sorted(set(runs.glob("*.db")) - set(main)) if every_run else []
    return [path for path in (*main, *single) if path.exists()]


def database_damage(path: Path, *, deep: bool = False) -> str | None:
    """Return what SQLite says of a file's damage, None if there is none."""
    if path.stat().st_size == 0:
        return "is empty"
    try:
        with sqlite_files.reading(path) as connection:
            look = "PRAGMA integrity_check(1)" if deep else "PRAGMA quick_check(1)"
            said = connection.execute(look).fetchone()[0]
    except sqlite3.DatabaseError as error:
        return f"cannot be read: {one_line(error)}"
    return None if said == "ok" else f"is damaged: {one_line(said, max_length=120)}"


def _answers(database: Postgres, what: str, table: str) -> Finding | None:
    """Ask PostgreSQL, which looks after its own files, whether a table is there and can be read."""
    name = f"{what} in {database}"
    try:
        with stored_databases.reading(database) as look:
            if not stored_databases.has_table(look, table):
                return None
            look.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608 - our own names
    except (DatabaseUnavailableError, UnreadableDatabaseError) as error:
        return damaged(name, one_line(error), "start the server, or restore it from a backup of the database")
    return well(name, "can be read")


def _name(settings: Settings, path: Path) -> str:
    return (
        str(path.relative_to(settings.local_root)) if path.is_relative_to(settings.local_root) else str(path)
    )
