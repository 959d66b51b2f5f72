"""A release's lake, unpacked where a test wants it."""

import datetime as dt
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

FIRST_DAY = dt.date(2026, 1, 1)
HORIZON = 7

FIRST = "0.1.0"

# Where lakes are made. MLflow and Dagster keep absolute paths, which are looked for by this name.
MADE_AT = Path("/tmp/churn-release")


def archive_of(release: str) -> Path:
    """The packed lake of a release."""
    return Path(__file__).with_name(f"lake-{release}.tar.xz")


def unpack(release: str, folder: Path) -> Path:
    """The lake of a release, as if it had been made in ``folder``.

    Tables move with their folder. In the first release MLflow's and Dagster's databases and the logged models
    named their files by path, and who moved a lake by hand had to replace these as well; the later ones
    follow a moved lake by themselves.
    """
    with tarfile.open(archive_of(release)) as packed:
        packed.extractall(folder, filter="data")
    lake = folder / "lake"
    if release != FIRST:
        return lake
    for database in [lake / "mlflow" / "mlflow.db", *lake.glob("dagster/history/**/*.db")]:
        _relocate(database, str(MADE_AT), str(folder))
    for model in lake.glob("mlflow/artifacts/models/*/artifacts/MLmodel"):
        model.write_text(model.read_text().replace(str(MADE_AT), str(folder)))
    return lake


def _relocate(database: Path, before: str, after: str) -> None:
    """Replace a path in whatever text column it stands."""
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                        f'WHERE instr("{column}", ?)',
                        (before, after, before),
                    )
