"""MLflow's runs and models in PostgreSQL: made once, carried over whole, and of one lake alone."""

import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from churn_assets import stored_databases
from churn_assets.errors import ModelError
from churn_assets.model.registry import carrying_over, mlflow_postgres, registry, run_retention
from churn_assets.model.registry.stored_version import stored_version
from churn_assets.postgres import MLFLOW_SCHEMA, Postgres
from churn_assets.settings import Settings
from churn_assets.verification.models import stored_versions
from churn_assets_tests.model.conftest import OpenMlflow, local_settings
from churn_assets_tests.postgres_server import PASSWORD, QUOTED_PASSWORD, PostgresServer

NAME, ALIAS = registry.MODEL_NAME, registry.PRODUCTION_ALIAS


@pytest.fixture(scope="module")
def with_tables(postgres_server: PostgresServer) -> str:
    """The name of a database with MLflow's tables and nothing in them: making them takes seconds."""
    url = postgres_server.new_database()
    mlflow_postgres.make(Postgres(url, MLFLOW_SCHEMA), None, "")
    return url.rpartition("/")[2]


@pytest.fixture
def database_url(postgres_server: PostgresServer, with_tables: str) -> str:
    return postgres_server.new_database(like=with_tables)


def in_database(settings: Settings, url: str) -> Settings:
    """The same lake with its models in PostgreSQL."""
    return settings.model_copy(update={"database_url": url, "mlflow_tracking_uri": ""})


def place(settings: Settings) -> Postgres:
    found = registry.database(settings)
    assert isinstance(found, Postgres)
    return found


def two_versions(settings: Settings, open_mlflow: OpenMlflow) -> None:
    """Registered by a run with metrics and tags; the first is Production."""
    with open_mlflow(settings) as mlflow:
        mlflow.log_metrics({"roc_auc": 0.75, "pr_auc": math.nan})
        mlflow.set_tags({"horizon_days": "30", "delta_version.main_catalog.gold.user_features": "3"})
        run = mlflow.active_run().info
        client = mlflow.MlflowClient()
        client.create_registered_model(NAME)
        for _ in range(2):
            client.create_model_version(NAME, f"{run.artifact_uri}/model", run.run_id)
        mlflow.end_run()
    registry.promote(settings, "1")


def test_a_database_is_made_once_by_whoever_comes_first(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    settings = in_database(local_settings(tmp_path), postgres_server.new_database())
    assert registry.has_no_database(settings)
    artifacts = settings.mlflow_artifact_root

    def ensure(_: int) -> None:
        mlflow_postgres.ensure(place(settings), "churn", artifacts, registry.own_file(settings))

    with ThreadPoolExecutor(2) as both:
        list(both.map(ensure, range(2)))

    assert not registry.has_no_database(settings)
    assert not settings.mlflow_folder.exists()
    with stored_databases.reading(place(settings)) as look:
        names = look.execute("SELECT name FROM experiments ORDER BY name").fetchall()
    assert names == [("Default",), ("churn",)]


def test_what_is_stored_is_what_mlflow_knows_before_and_after_it_was_carried_over(
    settings: Settings, database_url: str, open_mlflow: OpenMlflow
) -> None:
    two_versions(settings, open_mlflow)
    before, versions = registry.production(settings), stored_versions(settings)
    moved = in_database(settings, database_url)

    for ask in (registry.production, stored_versions, registry.configure, registry.production_version):
        with pytest.raises(ModelError, match=r"mlflow\.db, and .* has none\. Carry them over: churn migrate"):
            ask(moved)
    assert "would get" in str(carrying_over.carry_over(moved, dry_run=True))
    assert "has MLflow's tables" in str(carrying_over.carry_over(moved))

    # A metric that is no number equals nothing, itself included.
    assert repr(registry.production(moved)) == repr(before)
    assert stored_versions(moved) == versions
    assert versions[0].delta_versions == {"main_catalog.gold.user_features": 3}
    by_mlflow = registry.production_version(moved)
    assert by_mlflow
    assert (str(by_mlflow.version), by_mlflow.run_id) == ("1", versions[0].run_id)
    assert carrying_over.carry_over(moved) is None


def test_mlflow_goes_on_after_what_was_carried_over(
    settings: Settings, database_url: str, open_mlflow: OpenMlflow
) -> None:
    two_versions(settings, open_mlflow)
    moved = in_database(settings, database_url)
    carrying_over.carry_over(moved)

    with open_mlflow(moved) as mlflow:
        client = mlflow.MlflowClient()
        client.create_experiment("another")
        mlflow.log_metric("roc_auc", 0.8)
        run = mlflow.active_run().info
        version = client.create_model_version(NAME, f"{run.artifact_uri}/model", run.run_id)
        mlflow.end_run()
        assert registry.run_url(moved, run.run_id) == ""
    registry.promote(moved, str(version.version))

    found = stored_version(place(moved), NAME, ALIAS)
    assert found
    assert (found.version, found.metrics) == ("3", {"roc_auc": 0.8})
    # The file is as it was, should its owner go back.
    assert registry.production_number(settings) == "1"


def test_a_kill_while_models_are_carried_over_leaves_them_to_be_carried_over(
    settings: Settings, database_url: str, open_mlflow: OpenMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_versions(settings, open_mlflow)
    moved = in_database(settings, database_url)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    count = carrying_over._go_on_counting
    monkeypatch.setattr(carrying_over, "_go_on_counting", killed)
    with pytest.raises(KeyboardInterrupt):
        carrying_over.carry_over(moved)
    monkeypatch.setattr(carrying_over, "_go_on_counting", count)
    with pytest.raises(ModelError, match="churn migrate"):
        registry.production(moved)

    carrying_over.carry_over(moved)

    assert repr(registry.production(moved)) == repr(registry.production(settings))


def test_another_lake_is_refused_and_one_that_was_moved_is_followed(
    tmp_path: Path, database_url: str
) -> None:
    first = in_database(local_settings(tmp_path / "first"), database_url)
    registry.configure(first)
    (first.mlflow_folder / "artifacts").mkdir(parents=True)
    copied = in_database(local_settings(tmp_path / "copied"), database_url)
    shutil.copytree(first.lake_root, copied.lake_root)

    with pytest.raises(ModelError, match="Each lake needs a database of its own"):
        registry.configure(copied)
    assert carrying_over.carry_over(copied) is None

    shutil.rmtree(first.lake_root)
    with pytest.raises(ModelError, match="churn migrate"):
        registry.configure(copied)
    assert "are now looked for in" in str(carrying_over.carry_over(copied))
    registry.configure(copied)


def test_runs_of_dead_processes_end_there_too(
    tmp_path: Path, database_url: str, open_mlflow: OpenMlflow
) -> None:
    settings = in_database(local_settings(tmp_path), database_url)
    with open_mlflow(settings) as mlflow:
        mlflow.set_tag("dagster_run_id", "dead")
        dead = mlflow.active_run().info.run_id

        assert run_retention.end_dead_runs(settings, lambda run_id: run_id == "dead") == 1

        assert mlflow.get_run(dead).info.status == "KILLED"
        mlflow.end_run("KILLED")


def test_no_file_and_no_row_holds_the_password(
    settings: Settings, database_url: str, open_mlflow: OpenMlflow
) -> None:
    moved = in_database(settings, database_url)
    with open_mlflow(moved) as mlflow:
        mlflow.log_text("rows", "rows.txt")
        mlflow.end_run()

    with stored_databases.reading(place(moved)) as look:
        tables = look.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mlflow'"
        )
        rows = [str(look.execute(f"SELECT * FROM {name}").fetchall()) for (name,) in tables.fetchall()]
    files = [
        path.read_bytes().decode(errors="replace") for path in moved.lake_root.rglob("*") if path.is_file()
    ]
    assert len(rows) > 30
    assert len(files) >= 2
    assert not [text for text in (*rows, *files) if PASSWORD in text or QUOTED_PASSWORD in text]
