"""One engine session for the whole test run: Sail, or Apache Spark with CHURN_DEPLOYMENT=spark."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import hypothesis
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from filelock import FileLock
from pyspark.sql import SparkSession
from xdist import is_xdist_controller

from churn_assets import settings as settings_module
from churn_assets.identity import VARIABLES
from churn_assets.lakehouse import engines, s3a
from churn_assets.lakehouse.engines import ApacheSpark, EmbeddedSail
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets_tests import selection
from churn_assets_tests.postgres_server import PostgresServer, running_server

# No example has a deadline: on a busy machine the first, which imports what it needs, is late.
hypothesis.settings.register_profile("busy machines", deadline=None)
hypothesis.settings.load_profile("busy machines")

# Whoever runs the tests may have a server of their own on the usual port.
NOBODY_LISTENS = "http://127.0.0.1:9"

# And settings of their own. Only the engine may be asked for, as make test-spark does; a workspace is never.
ENGINE = "CHURN_DEPLOYMENT"


def forget_the_callers_settings() -> None:
    """Leave no variable that the platform or its commands would read, and no .env where they look for one."""
    for name in {*Settings.variables(), *(name for name in os.environ if name.startswith("CHURN_"))}:
        if name != ENGINE or os.environ.get(name) not in ("local", "spark"):
            os.environ.pop(name, None)
    empty = tempfile.mkdtemp(prefix="churn-tests-")
    atexit.register(shutil.rmtree, empty, ignore_errors=True)
    os.chdir(empty)


def pytest_sessionstart(session: pytest.Session) -> None:
    # The workers that a controller starts look for the tests from where it is.
    if not is_xdist_controller(session):
        forget_the_callers_settings()


if TYPE_CHECKING:
    from churn_assets_tests.buckets import BucketServer

MakeSettings = Callable[..., Settings]
# For tables of ten rows.
TINY_TABLES = {
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.shuffle.partitions": "2",
}

# The JVM lives for minutes and meets each plan once: in test_lake.py its optimizing compiler took 80 of 188
# CPU seconds. With the other one alone it would keep 48 MB of code, which the classes that Spark generates
# fill: it then sweeps out code that it compiles again.
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"


# First, as pytest leaves out what is slow where all of these have had their say.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first. On Apache Spark only what touches the engine: the rest has nothing new to show."""
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        selection.require_known_names({item.name for item in items})
    for item in items:
        if selection.is_at_full_size(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=selection.place)
    if settings_module.load().deployment != "spark":
        return
    engine_tests = [item for item in items if selection.shows_something_on_spark(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in engine_tests])
    items[:] = engine_tests


def _nobody_is_logged_in() -> None:
    # Whoever opened a workspace, in this test or in a fixture of many, told MLflow who it is.
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of their time, tests wait for servers, processes and clocks."""
    # Of Apache Spark each would start another, which waits for nothing.
    return (os.cpu_count() or 1) + (settings_module.load().deployment != "spark")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole modules a process, and in one those that share a house; in the order of collection."""
    if config.getoption("dist") != "loadscope":
        return None
    # By how many tests they have: a module of one test that takes minutes would be begun last.
    config.option.loadscopereorder = False
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            return selection.house(module) or module

    return ByModule(config, log)


@pytest.fixture(autouse=True)
def _mlflow_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # dagster-mlflow's resource exports the tracking URI, which the next settings would read.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _nobody_is_logged_in()
    yield
    _nobody_is_logged_in()
    # MLflow puts a mock there while it loads a model; of several threads, as Sail has, one may leave it,
    # and hypothesis stumbles over a module whose every attribute is a mock.
    sys.modules.pop("dbutils", None)


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    # Each new history of Dagster's would import a hundred of its migrations, to stamp itself with the last.
    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = config.get_alembic_option("script_location")
        return known.get(place) or known.setdefault(place, read(config))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(scope="session")
def deployment() -> str:
    return settings_module.load().deployment


@pytest.fixture(scope="session")
def spark(deployment: str) -> SparkSession:
    if deployment == "spark":
        os.environ.setdefault("SPARK_SUBMIT_OPTS", QUICK_JVM)
        # Not as the session's own: what is under test asks for the session again, with the platform's.
        engines.SPARK_CONFIG.update(TINY_TABLES)
        # A session is given its jars when it starts, and some tests have their lake in a bucket.
        return ApacheSpark(master="local[2]", reaches_s3=True).spark_session
    return EmbeddedSail(catalogs=["main_catalog", "raw_catalog"]).spark_session


@pytest.fixture
def make_settings(tmp_path: Path, deployment: str) -> MakeSettings:
    """Settings of a lake in a new folder, whatever the environment or a ``.env`` says."""

    def make(**overrides: Any) -> Settings:
        return settings_in(tmp_path, **{"deployment": deployment, **overrides})

    return make


def settings_in(folder: Path, **overrides: Any) -> Settings:
    lake_root = folder / "lake"
    ours = {
        "_env_file": None,
        "lake_root": lake_root,
        "landing_root": str(folder / "landing"),
        "mlflow_tracking_uri": f"sqlite:///{lake_root}/mlflow/mlflow.db",
        "dagster_home": folder / "dagster",
        "spark_master": "local[2]",
        "endpoint_url": NOBODY_LISTENS,
    }
    return settings_module.load(**{**ours, **overrides})


def one_at_a_time(folder: Path) -> FileLock:
    """Of all processes of a run, whoever makes what lies there."""
    return FileLock(folder.with_suffix(".lock"), is_singleton=True)


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database that ``configure`` made and nobody used: made in seconds, once for all processes."""
    from churn_assets.model.registry import registry
    from churn_assets_tests.model.conftest import local_settings, mlflow_state_as_it_was

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "mlflow_of_all_processes"
    settings = local_settings(folder)
    # Made by the first, found by the others.
    with one_at_a_time(folder), mlflow_state_as_it_was():
        registry.configure(settings)
    return settings.mlflow_folder / "mlflow.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server; where none is installed, its tests are skipped and say so."""
    with running_server() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database, which the test's lake alone uses."""
    # Who opens a history in it sets it for the process.
    monkeypatch.setenv("CHURN_DATABASE_URL", "")
    return postgres_server.new_database()


@pytest.fixture
def lake(make_settings: MakeSettings, spark: SparkSession) -> FolderLakehouse:
    """A lake with no table yet."""
    return FolderLakehouse(make_settings(), lambda: spark)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that forgets everything."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def bucket_server() -> "Iterator[BucketServer]":
    """One server for the whole run: engines keep a bucket's address for as long as they live."""
    from churn_assets_tests.buckets import BucketServer

    server = BucketServer()
    yield server
    server.stop()


@pytest.fixture
def bucket_uri(bucket_server: "BucketServer", monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a new bucket, which the environment says how to reach."""
    for variable, value in bucket_server.environment().items():
        monkeypatch.setenv(variable, value)
    yield bucket_server.new_bucket()
    bucket_server.fail()


@pytest.fixture
def bucket_lake(bucket_uri: str, spark: SparkSession, tmp_path: Path, deployment: str) -> FolderLakehouse:
    """A lake in a new bucket, with no table yet."""
    if deployment == "spark":
        # The session of all tests is older than the server.
        s3a.introduce(spark)
    return FolderLakehouse(bucket_settings(bucket_uri, tmp_path, deployment=deployment), lambda: spark)


def bucket_settings(uri: str, folder: Path, **overrides: Any) -> Settings:
    ours = {
        "deployment": "local",
        "lake_root": f"{uri}/lake",
        "landing_root": f"{uri}/lake/landing/events",
        "state_root": folder / "state",
        "mlflow_tracking_uri": "",
    }
    return settings_in(folder, **{**ours, **overrides})
