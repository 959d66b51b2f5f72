"""The whole graph on a lake of its own."""

import datetime as dt
import functools
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.runs.runner import PipelineReport
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.graph import build_defs
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import registry
from churn_assets.sample.simulator import simulate
from churn_assets.settings import Settings
from churn_assets.tables import TABLES, Table
from churn_assets_tests.conftest import one_at_a_time, settings_in
from churn_assets_tests.memory import remember
from churn_assets_tests.model.conftest import mlflow_state_as_it_was

# A pandas DataFrame, whose own annotations know neither its to_numpy nor its between.
Frame = Any

FIRST_DAY = dt.date(2026, 1, 1)
DAYS = 50
LAST_DAY = FIRST_DAY + (DAYS - 1) * ONE_DAY
HORIZON = 7
# Days later than every event, so that each simulated day is over.
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


@dataclass
class House:
    """A lake with its graph and its history; ``run`` is what ``churn run`` does."""

    settings: Settings
    lake: FolderLakehouse
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    @property
    def landing(self) -> Path:
        return Path(self.settings.landing_root)

    def run(self, now: dt.datetime = NOW, wanted: DateRange | None = None) -> PipelineReport:
        return Pipeline(self.definitions, self.lake, self.instance, lambda _: None).run(now, wanted)

    def versions(self) -> dict[str, int]:
        return {str(table): self.lake.version(table) for table in TABLES}

    def content(self, table: Table) -> Frame:
        """Every row and column but timestamps of the run, in one order."""
        return content(self.lake.location(table), table)


def content(location: Path, table: Table) -> Frame:
    """As ``House.content``, of a table in this folder."""
    frame = DeltaTable(location).to_pyarrow_table(columns=table.content_columns)
    return frame.sort_by([(name, "ascending") for name in table.content_columns]).to_pandas()


@pytest.fixture(scope="session", autouse=True)
def _mlflow_is_imported() -> None:
    # On import MLflow warns of its own type hints, which it hides from users but not from "error" filters.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow.pyfunc  # noqa: F401 - for the import


@pytest.fixture
def on_sail(deployment: str) -> None:
    """For tests of what happens around the engine, each several runs: minutes on Apache Spark."""
    if deployment == "spark":
        pytest.skip(
            "the plan and the failure paths are the same on either engine, and runs take minutes here"
        )


@pytest.fixture(scope="session")
def make_house(spark: SparkSession, deployment: str, new_database: Path) -> Iterator[Callable[..., House]]:
    instances = ExitStack()

    def make(folder: Path, history: dg.DagsterInstance | None = None, **overrides: Any) -> House:
        ours = {"deployment": deployment, "start_date": FIRST_DAY, "horizon_days": HORIZON}
        settings = settings_in(folder, **{**ours, **overrides})
        mlflow = settings.lake_root / "mlflow"
        # A folder that has been copied from another house has its own.
        if not mlflow.exists():
            mlflow.mkdir(parents=True)
            shutil.copy(new_database, mlflow)
        lake = FolderLakehouse(settings, lambda: spark)
        instance = instances.enter_context(dg.DagsterInstance.ephemeral())
        if history:
            remember(instance, history)
        return House(settings, lake, instance, build_defs(settings))

    with instances:
        yield make


def score_with_a_constant(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """A Production version that nobody loads: what is asked here is whether it is asked at all."""
    from mlflow import MlflowClient

    with mlflow_state_as_it_was():
        registry.configure(settings)
        client, name = MlflowClient(), registry.registered_model_name(settings)
        client.create_registered_model(name)
        run = client.create_run("0").info
        version = client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
        registry.promote(settings, str(version.version))
    # It has no files that could be signed.
    patch.setattr(registry, "require_own", lambda *_: None)
    chance = registry.VersionFunction(("event_count_30d",), lambda _: F.lit(0.25))
    patch.setattr(registry, "scorer", lambda *_: chance)
    effects = registry.VersionFunction(("event_count_30d",), lambda _: F.array(F.lit(-0.5)))
    patch.setattr(registry, "explainer", lambda *_: effects)


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 50 days of 600 simulated users: some events late, some twice, some broken."""
    folder = tmp_path_factory.mktemp("landed")
    simulate(
        str(folder / "landing"),
        folder / "truth.csv",
        users=600,
        days=DAYS,
        start=FIRST_DAY,
        seed=5,
        late_share=0.05,
        duplicate_share=0.05,
        corrupt_share=0.02,
    )
    return folder / "landing"


@pytest.fixture(scope="session")
def of_all_processes(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Where a process shows the lake that it has run over ``landed``; None where there is no other."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    return tmp_path_factory.getbasetemp().parent / "lake_of_all_processes"


@pytest.fixture(scope="session")
def run_once(
    make_house: Callable[..., House],
    landed: Path,
    of_all_processes: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], House]:
    """Returns one lake that has run once over all of ``landed``, and runs it the first time."""

    @functools.cache
    def made() -> House:
        found = make_house(tmp_path_factory.mktemp("house"))
        shutil.copytree(landed, found.landing)
        if of_all_processes is None:
            found.run()
            return found
        # Held while it runs, so that who only looks waits, and makes none of its own.
        with one_at_a_time(of_all_processes):
            found.run()
            if not of_all_processes.exists():
                unfinished = of_all_processes.with_suffix(".unfinished")
                shutil.copytree(found.settings.lake_root, unfinished)
                unfinished.rename(of_all_processes)
        return found

    return made


@pytest.fixture(scope="session")
def house(run_once: Callable[[], House]) -> House:
    """A lake that has run once over all of it; tests that change something use a copy."""
    return run_once()


@pytest.fixture(scope="session")
def expected(
    run_once: Callable[[], House], of_all_processes: Path | None, deployment: str
) -> Callable[[Table], Frame]:
    """What ``house`` has in a table after its run, whichever process makes it: ask late, and it is there."""

    def rows(table: Table) -> Frame:
        if of_all_processes is None:
            return run_once().content(table)
        with one_at_a_time(of_all_processes):
            if not of_all_processes.exists():
                run_once()
        settings = settings_in(of_all_processes.parent, deployment=deployment, lake_root=of_all_processes)
        return content(FolderLakehouse(settings, _no_engine).location(table), table)

    return rows


def _no_engine() -> SparkSession:
    raise AssertionError("looking at a lake needs no engine")


@pytest.fixture(scope="session")
def copy_of(make_house: Callable[..., House]) -> Callable[[House, Path], House]:
    """The same tables, models and history in another folder: what takes a run a minute is there at once."""

    def copy(house: House, folder: Path) -> House:
        shutil.copytree(house.settings.lake_root, folder / "lake")
        shutil.copytree(house.landing, folder / "landing")
        return make_house(folder, history=house.instance)

    return copy
