"""MLflow's database in a file: whole or not there, whatever a kill left."""

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from churn_assets.errors import ModelError
from churn_assets.model.registry import mlflow_database, registry
from churn_assets.settings import Settings
from churn_assets_tests.model.conftest import local_settings
from churn_assets_tests.names import ODD_NAMES

EXPERIMENT = "churn"


def executed(path: Path, *statements: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def database_of(settings: Settings) -> Path:
    return settings.lake_root / "mlflow" / "mlflow.db"


@pytest.fixture
def copy_instead_of_making(new_database: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Making a database takes seconds; the URIs of those that would have been made."""
    made: list[str] = []

    def copy(uri: str, *_: str) -> None:
        made.append(uri)
        shutil.copy(new_database, uri.removeprefix("sqlite:///"))

    monkeypatch.setattr(mlflow_database, "make", copy)
    return made


def half_migrated(path: Path) -> None:
    """As a kill in the middle of a migration leaves it."""
    executed(
        path,
        "CREATE TABLE experiments (experiment_id INTEGER, name TEXT)",
        "CREATE TABLE runs (run_uuid TEXT)",
        "CREATE TABLE _alembic_tmp_latest_metrics (key TEXT)",
    )


def between_migrations(path: Path) -> None:
    executed(
        path,
        "CREATE TABLE experiments (experiment_id INTEGER, name TEXT)",
        "INSERT INTO experiments VALUES (0, 'Default')",
    )


def empty(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()


@pytest.mark.parametrize("left", [half_migrated, between_migrations, empty])
def test_what_a_kill_left_is_moved_aside_and_made_anew(
    left: Callable[[Path], None], tmp_path: Path, copy_instead_of_making: list[str]
) -> None:
    settings = local_settings(tmp_path)
    path = database_of(settings)
    left(path)
    (path.parent / ".mlflow.db-new").write_text("of a making that was killed")
    assert registry.production_version(settings) is None

    registry.configure(settings)

    assert mlflow_database.is_whole(path, EXPERIMENT)
    assert len(copy_instead_of_making) == 1
    assert sorted(file.name for file in path.parent.iterdir() if not file.name.endswith(".lock")) == [
        "mlflow.db",
        "mlflow.db.half-made",
    ]


def test_the_database_is_not_there_while_it_is_made(
    tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = local_settings(tmp_path)

    def killed(uri: str, *_: str) -> None:
        half_migrated(Path(uri.removeprefix("sqlite:///")))
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_database, "make", killed)
    with pytest.raises(KeyboardInterrupt):
        registry.configure(settings)

    assert not database_of(settings).exists()
    assert registry.production_version(settings) is None


def test_of_two_that_start_at_once_one_makes_it(tmp_path: Path, copy_instead_of_making: list[str]) -> None:
    path = database_of(local_settings(tmp_path))

    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda _: mlflow_database.ensure(path, EXPERIMENT, "", path.parent), range(2)))

    assert len(copy_instead_of_making) == 1
    assert mlflow_database.is_whole(path, EXPERIMENT)


def test_a_half_migrated_database_with_runs_is_left_alone_in_one_line(tmp_path: Path) -> None:
    settings = local_settings(tmp_path)
    half_migrated(database_of(settings))
    executed(database_of(settings), "INSERT INTO runs VALUES ('a')")

    with pytest.raises(
        ModelError, match=r"is half migrated .*_alembic_tmp_latest_metrics\) and holds runs\. "
    ):
        registry.configure(settings)

    assert database_of(settings).exists()


def test_a_whole_database_of_somebody_elses_making_is_left_alone(
    settings: Settings, copy_instead_of_making: list[str]
) -> None:
    executed(database_of(settings), "UPDATE experiments SET name = 'theirs' WHERE name = 'churn'")

    registry.configure(settings)

    assert copy_instead_of_making == []


def test_what_is_no_database_is_one_line(tmp_path: Path) -> None:
    settings = local_settings(tmp_path)
    database_of(settings).parent.mkdir(parents=True)
    database_of(settings).write_text("this is no database at all" * 100)

    with pytest.raises(ModelError, match=r"cannot be read \(file is not a database\)\. Restore it from a"):
        registry.production_version(settings)


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES.keys())
def test_a_model_is_logged_registered_and_loaded_in_a_lake_of_any_name(
    name: str, tmp_path: Path, copy_instead_of_making: list[str]
) -> None:
    import mlflow
    from mlflow import artifacts

    settings = local_settings(tmp_path / "lakes" / name / "lake")
    registry.configure(settings)
    client = mlflow.MlflowClient()
    # The copied database's own experiment has its artifacts elsewhere.
    odd = client.create_experiment("odd", artifact_location=settings.mlflow_artifact_root)
    run = client.create_run(odd)
    client.log_text(run.info.run_id, "a report", "report.html")
    client.create_registered_model(registry.MODEL_NAME)
    source = f"runs:/{run.info.run_id}/report.html"
    version = client.create_model_version(registry.MODEL_NAME, source, run.info.run_id)
    registry.promote(settings, str(version.version))

    found = registry.production_version(settings)
    assert found is not None
    downloaded = artifacts.download_artifacts(found.source, dst_path=str(tmp_path / "there"))
    assert Path(downloaded).read_text() == "a report"
    assert list((settings.lake_root / "mlflow" / "artifacts").rglob("report.html"))
    assert [path.name for path in (tmp_path / "lakes").iterdir()] == [name]
