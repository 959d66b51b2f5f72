"""One engine session for the whole test run: Sail, or Apache Spark with CHURN_DEPLOYMENT=spark."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets import settings as settings_module
from churn_assets.lakehouse.engines import ApacheSpark, EmbeddedSail
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings

MakeSettings = Callable[..., Settings]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On Apache Spark only what touches the engine: the rest has nothing new to show, and takes minutes."""
    if settings_module.load().deployment != "spark":
        return
    engine_tests = [item for item in items if "spark" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in engine_tests])
    items[:] = engine_tests


@pytest.fixture(autouse=True)
def _mlflow_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # dagster-mlflow's resource exports the tracking URI, which the next settings would read.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    # MLflow puts a mock there while it loads a model; of several threads, as Sail has, one may leave it,
    # and hypothesis stumbles over a module whose every attribute is a mock.
    sys.modules.pop("dbutils", None)


@pytest.fixture(scope="session")
def deployment() -> str:
    return settings_module.load().deployment


@pytest.fixture(scope="session")
def spark(deployment: str) -> SparkSession:
    if deployment == "spark":
        return ApacheSpark(master="local[2]").spark_session
    return EmbeddedSail(catalogs=["main_catalog", "raw_catalog"]).spark_session


@pytest.fixture
def make_settings(tmp_path: Path, deployment: str) -> MakeSettings:
    """Settings of a lake in a new folder, whatever the environment or a ``.env`` says."""

    def make(**overrides: Any) -> Settings:
        lake_root = tmp_path / "lake"
        ours = {
            "_env_file": None,
            "deployment": deployment,
            "lake_root": lake_root,
            "landing_root": str(tmp_path / "landing"),
            "mlflow_tracking_uri": f"sqlite:///{lake_root}/mlflow/mlflow.db",
            "dagster_home": tmp_path / "dagster",
            "spark_master": "local[2]",
        }
        return settings_module.load(**{**ours, **overrides})

    return make


@pytest.fixture
def lake(make_settings: MakeSettings, spark: SparkSession) -> Lakehouse:
    """A lake with no table yet."""
    return Lakehouse(make_settings(), lambda: spark)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that forgets everything."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
