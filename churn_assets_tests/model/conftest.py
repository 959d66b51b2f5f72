"""A real MLflow in a folder of its own, and labelled rows that follow a rule a reader can see."""

import datetime as dt
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from churn_assets import settings as settings_module
from churn_assets.model.registry import registry
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, FEATURE_COLUMNS, USER_FEATURES

FIRST_DATE = dt.date(2026, 1, 1)
HORIZON_DAYS = 5
COLUMNS = ["user_id", "feature_date", *FEATURE_COLUMNS, "label"]
TYPES = {column.name: column.type for column in (*USER_FEATURES.columns, *CHURN_LABELS.columns)}
LABELLED_SCHEMA = ", ".join(f"{name} {TYPES[name]}" for name in COLUMNS)

OpenMlflow = Callable[[Settings], AbstractContextManager[Any]]


def local_settings(lake_root: Path, **overrides: Any) -> Settings:
    """Settings of a lake in ``lake_root``, whatever the environment or a ``.env`` says."""
    database = lake_root / "mlflow" / "mlflow.db"
    return settings_module.load(
        _env_file=None,
        lake_root=lake_root,
        mlflow_tracking_uri=f"sqlite:///{database}",
        horizon_days=HORIZON_DAYS,
        deployment="local",
        **overrides,
    )


def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where it is not installed."""
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("loops", "program"):
        monkeypatch.delitem(sys.modules, f"churn_assets.model.kernel.{name}", raising=False)
        monkeypatch.delattr(f"churn_assets.model.kernel.{name}", raising=False)


def labelled_frame(users: int, dates: int) -> pd.DataFrame:
    """Who was away for 15 days or more churns, unless he bought three times; a model of all beats recency.

    Every tenth user does the opposite. The history says nothing more; some of it is missing.
    """
    keys = pd.MultiIndex.from_product([range(users), range(dates)], names=["user_id", "day"])
    frame: Any = keys.to_frame(index=False)
    away = (frame["user_id"] + frame["day"]) % 30
    purchases = frame["user_id"] % 4
    gap = (2.0 + frame["user_id"] % 5).where(frame["user_id"] % 11 > 0)
    labelled = pd.DataFrame(
        {
            "user_id": frame["user_id"],
            "feature_date": [FIRST_DATE + dt.timedelta(days=day) for day in frame["day"]],
            "event_count_30d": 60 - away,
            "active_days_30d": 30 - away,
            "days_since_last_event": away,
            "purchase_count_30d": purchases,
            "account_age_days": frame["user_id"] % 100 + frame["day"],
            "rolling_7d_events": frame["user_id"] % 7,
            "active_days_90d": 30 - away + frame["user_id"] % 3,
            "active_days_total": (40 - away + frame["user_id"] % 3).where(gap.notna(), 1),
            "event_count_total": 90 - away,
            "purchase_count_total": purchases,
            "mean_gap_days": gap,
            "longest_gap_days": gap * 3,
            "overdue_ratio": away / gap,
            "days_since_last_purchase": (away + frame["user_id"] % 5).where(purchases > 0),
            "amount_total": (10.5 * purchases).where(frame["user_id"] % 13 > 0),
            "label": (((away >= 15) & (purchases < 3)) != (frame["user_id"] % 10 == 0)).astype("int64"),
        }
    )
    # Whatever else models take says nothing, but varies.
    others = {name: frame["user_id"] % 2 for name in FEATURE_COLUMNS if name not in labelled}
    doubles = {name: "float64" for name in others if TYPES[name] == "double"}
    return labelled.assign(**others).loc[:, COLUMNS].astype(doubles)


@pytest.fixture(scope="session", autouse=True)
def _mlflow_is_imported() -> None:
    # On import MLflow warns of its own type hints, which it hides from users but not from "error" filters.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow.pyfunc  # noqa: F401 - for the import


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Histogram boosting's threads wait for one another where other tests keep the cores busy."""
    import sklearn.ensemble  # noqa: F401 - what is not loaded cannot be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def labelled(spark: SparkSession) -> DataFrame:
    """10,500 rows: 700 users on each of the 15 dates from 2026-01-01."""
    return spark.createDataFrame(labelled_frame(users=700, dates=15), LABELLED_SCHEMA)


@pytest.fixture
def settings(tmp_path: Path, new_database: Path) -> Settings:
    """Settings of a lake whose MLflow is there and empty."""
    return settings_with_database(tmp_path, new_database)


def settings_with_database(lake_root: Path, new_database: Path) -> Settings:
    settings = local_settings(lake_root)
    take_over(new_database, settings)
    return settings


def take_over(new_database: Path, settings: Settings) -> None:
    """Let the lake have a copy of the database, in place of making one."""
    settings.mlflow_folder.mkdir(parents=True)
    shutil.copy(new_database, settings.mlflow_folder)


@pytest.fixture(autouse=True)
def _mlflow_state() -> Iterator[None]:
    with mlflow_state_as_it_was():
        yield


@contextmanager
def mlflow_state_as_it_was() -> Iterator[None]:
    """MLflow keeps its URIs and the active run in globals."""
    import mlflow
    from mlflow.tracking._model_registry import utils as registry_utils
    from mlflow.tracking._tracking_service import utils as tracking_utils

    tracking_uri, registry_uri = tracking_utils._tracking_uri, registry_utils._registry_uri
    try:
        yield
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(tracking_uri)
        registry_utils._registry_uri = registry_uri


@pytest.fixture(scope="session")
def open_mlflow() -> OpenMlflow:
    """dagster-mlflow's resource, as a Dagster run gets it."""
    return _open_mlflow


@contextmanager
def _open_mlflow(settings: Settings) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.filterwarnings("ignore", r"InitResourceContext\.\w+ is deprecated", DeprecationWarning)
        from dagster_mlflow import mlflow_tracking

        registry.configure(settings)
        config = {
            "experiment_name": registry.experiment_name(settings),
            "mlflow_tracking_uri": registry.tracking_uri(settings),
        }
        with dg.build_resources(
            {"mlflow": mlflow_tracking},
            resource_config={"mlflow": {"config": config}},
            dagster_run=dg.DagsterRun(job_name="training"),
        ) as resources:
            yield resources.mlflow
