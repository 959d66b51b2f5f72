"""A registry with a few small models in it, published features of two users, and a server over both."""

import contextlib
import datetime as dt
import math
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
import sklearn

from churn_assets.errors import EndpointError
from churn_assets.model.candidates import estimators, fitting
from churn_assets.model.logged import packaging
from churn_assets.model.registry import registry, signatures
from churn_assets.serving.endpoint import ENDPOINT_NAME, online_folder
from churn_assets.serving.features import online_store
from churn_assets.serving.rollout.temporary_server import RunningServer, temporary_server
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS, HISTORY_OF_ALL, WINDOW_FEATURES
from churn_assets_tests.model.conftest import (
    labelled_frame,
    local_settings,
    mlflow_state_as_it_was,
    settings_with_database,
)
from churn_assets_tests.rows import features

FRAME = labelled_frame(users=100, dates=4)
FEATURES = FRAME.loc[:, WINDOW_FEATURES].astype("float64")


def _with_history(frame: pd.DataFrame) -> pd.DataFrame:
    """Twice the days of the last 30, and gaps that say who churns; one in three users has none."""
    days = frame["active_days_30d"] * 2.0
    gap = FRAME["label"].mul(4.0).add(FRAME["user_id"] % 5).add(1)
    known = FRAME["user_id"] % 3 > 0
    history = pd.DataFrame(
        {
            "active_days_90d": days,
            "active_days_total": days + 10,
            "event_count_total": frame["event_count_30d"] * 3,
            "purchase_count_total": frame["purchase_count_30d"] * 2,
            "mean_gap_days": gap.where(known),
            "longest_gap_days": (gap * 2).where(known),
            "overdue_ratio": (frame["days_since_last_event"] / gap).where(known),
            "days_since_last_purchase": frame["days_since_last_event"].where(frame["purchase_count_30d"] > 0),
            "amount_total": (frame["event_count_30d"] * 9.5).where(known),
        }
    )
    whole = frame.join(history)
    others = {name: least for name, least in features().items() if name not in whole}
    return whole.assign(**others).loc[:, FEATURE_COLUMNS].astype("float64")


WITH_ITS_HISTORY = _with_history(FEATURES)


def _history(**named: float) -> dict[str, float | None]:
    """What models take besides the six."""
    return {name: value for name, value in features(**named).items() if name not in WINDOW_FEATURES}


# One user a reader can follow: lively, 6 months old. What is of the last 30 days, and what is not.
RECORD = dict(zip(WINDOW_FEATURES, (42, 15, 3, 2, 180, 100), strict=True))
HISTORY = _history(
    active_days_90d=40,
    active_days_total=60,
    event_count_total=170,
    purchase_count_total=5,
    mean_gap_days=3.05,
    longest_gap_days=10.0,
    overdue_ratio=0.98,
    days_since_last_purchase=12.0,
    amount_total=250.5,
)
# One who came once, a year ago, and again 28 days ago: no purchase, and no amount.
GONE = dict(zip(WINDOW_FEATURES, (1, 1, 28, 0, 400, 0), strict=True))
HISTORY_OF_GONE = _history(
    active_days_90d=1,
    active_days_total=2,
    event_count_total=2,
    purchase_count_total=0,
    mean_gap_days=372,
    longest_gap_days=372,
    overdue_ratio=0.08,
)

FEATURE_DATE = dt.date(2026, 11, 22)
PUBLISHED = {
    user_id: [math.nan if value is None else float(value) for value in values]
    for user_id, values in {
        42: [*RECORD.values(), *HISTORY.values()],
        43: [*GONE.values(), *HISTORY_OF_GONE.values()],
    }.items()
}
# Null of some users.
NULLABLE = set(HISTORY) - set(HISTORY_OF_ALL)

# By version, as it is registered below: of the last 30 days alone. Few trees, so that training takes no time.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "1": ("gradient_boosting", {"n_estimators": 10}),
    "2": ("hist_gradient_boosting", {"max_iter": 10}),
    "3": ("logistic_regression", {}),
}
BROKEN_PICKLE, FOREIGN, THREE_CLASSES = "4", "5", "6"
# Of a history too, and with a model of its own for rows without one.
WITH_HISTORY = "7"


@dataclass(frozen=True)
class Client:
    """Asks one server as its user would."""

    url: str
    token: str

    def post(self, content: Any, **options: Any) -> requests.Response:
        """Ask for scores."""
        return self.ask("POST", f"/serving-endpoints/{ENDPOINT_NAME}/invocations", json=content, **options)

    def post_bytes(self, body: Any) -> requests.Response:
        """Ask for scores with a body that need not be JSON."""
        path, headers = (
            f"/serving-endpoints/{ENDPOINT_NAME}/invocations",
            {"content-type": "application/json"},
        )
        return self.ask("POST", path, data=body, headers=headers)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Any page, with the token."""
        headers = {"authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)


@pytest.fixture(scope="module", autouse=True)
def _scikit_learn_is_configured_as_before() -> Iterator[None]:
    # A scorer turns checks of parameters off for its whole process; other tests are about these.
    with sklearn.config_context():
        yield


@pytest.fixture(scope="session", autouse=True)
def _mlflow_is_imported() -> None:
    # On import MLflow warns of its own type hints, which it hides from users but not from "error" filters.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow.pyfunc  # noqa: F401 - for the import


@pytest.fixture(autouse=True)
def _what_the_server_ignores() -> None:
    # It says so when it loads a model; pytest forgets it from test to test, and the server lives longer.
    warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory, new_database: Path) -> Iterator[Settings]:
    """A lake whose registry has ``MODELS``, three that cannot be served, and one of a history.

    Production is version 1.
    """
    settings = settings_with_database(tmp_path_factory.mktemp("serving"), new_database)
    with mlflow_state_as_it_was():
        registry.configure(settings)
        import mlflow

        mlflow.set_experiment(registry.experiment_name(settings))
        for version, (name, params) in MODELS.items():
            assert _register(settings, estimators.make(name, params).fit(FEATURES, FRAME["label"])) == version
        _register_what_cannot_be_served(settings, tmp_path_factory.mktemp("bad"))
        assert _register(settings, knows_history()) == WITH_HISTORY
        registry.promote(settings, "1")
        publish_features(settings)
        yield settings


def _register(settings: Settings, fitted: Any) -> str:
    import mlflow

    with mlflow.start_run() as run:
        uri = packaging.log_churn_model(mlflow, fitted, WITH_ITS_HISTORY.head(2))
    return str(registry.register(settings, uri, run.info.run_id).version)


def knows_history() -> Any:
    """Histogram boosting of all, and gradient boosting of the last 30 days for who has no history."""
    whole = estimators.make("hist_gradient_boosting", {"max_iter": 10}).fit(WITH_ITS_HISTORY, FRAME["label"])
    without = estimators.make("gradient_boosting", {"n_estimators": 10}).fit(FEATURES, FRAME["label"])
    return fitting.with_fallback(whole, without)


def _register_what_cannot_be_served(settings: Settings, folder: Path) -> None:
    import mlflow

    (folder / "broken.pkl").write_bytes(b"this is no pickle")
    three = estimators.make("logistic_regression").fit(FEATURES, np.arange(len(FEATURES)) % 3)
    import cloudpickle

    (folder / "three.pkl").write_bytes(cloudpickle.dumps(three))
    artifacts = [
        (BROKEN_PICKLE, {"estimator": str(folder / "broken.pkl")}),
        (FOREIGN, {"weights": str(folder / "broken.pkl")}),
        (THREE_CLASSES, {"estimator": str(folder / "three.pkl")}),
    ]
    for version, files in artifacts:
        with mlflow.start_run() as run, warnings.catch_warnings():
            # MLflow would like an example to predict, which these models cannot.
            warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(packaging.CODE),
                artifacts=files,
                signature=packaging.signature(WINDOW_FEATURES),
                pip_requirements=[],
            )
        assert str(registry.register(settings, info.model_uri, run.info.run_id).version) == version


def publish_features(settings: Settings) -> None:
    """Let the server look users 42 and 43 up."""
    matrix = list(PUBLISHED.values())
    online_store.publish(
        online_folder(settings), list(PUBLISHED), matrix, FEATURE_COLUMNS, FEATURE_DATE, 7, NULLABLE
    )


@pytest.fixture
def lake(registered: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A lake of this test alone, with its own copy of the registry."""
    settings = copy_of(registered, tmp_path / "lake")
    with mlflow_state_as_it_was():
        registry.configure(settings)
        yield settings


def copy_of(registered: Settings, lake_root: Path, **overrides: Any) -> Settings:
    """Another lake with the same registered models, whose artifacts stay where they are."""
    settings = local_settings(lake_root, **overrides)
    (lake_root / "mlflow").mkdir(parents=True)
    shutil.copy(registered.lake_root / "mlflow" / "mlflow.db", lake_root / "mlflow")
    (lake_root / "serving").mkdir()
    shutil.copy(registered.lake_root / "serving" / signatures.KEY_FILE, lake_root / "serving")
    return settings


@pytest.fixture(scope="session")
def running(registered: Settings) -> Iterator[RunningServer]:
    """A server of version 1, for tests that do not change it."""
    with temporary_server(registered) as server:
        _serve(Client(server.url, server.admin_token), registered, "1")
        yield server


@pytest.fixture(scope="session")
def client(running: RunningServer) -> Client:
    """Who scores."""
    return Client(running.url, running.token)


@pytest.fixture(scope="session")
def admin(running: RunningServer) -> Client:
    """Who manages the same server; only for tests that leave it as it is."""
    return Client(running.url, running.admin_token)


@pytest.fixture(scope="session")
def expected(registered: Settings) -> dict[str, float]:
    """By version, what MLflow itself answers for ``RECORD``."""
    return {version: mlflow_answers(registered, version, [RECORD])[0] for version in MODELS}


def mlflow_answers(settings: Settings, version: str, records: list[dict[str, Any]]) -> list[float]:
    """What ``mlflow.pyfunc`` answers, as the batch scoring does."""
    import mlflow.pyfunc

    with mlflow_state_as_it_was():
        registry.configure(settings)
        model = mlflow.pyfunc.load_model(registry.model_uri(settings, version))
    frame = pd.DataFrame(records).astype("float64")
    return np.asarray(model.predict(frame)).tolist()


@contextlib.contextmanager
def server_of(settings: Settings, version: str | None = None) -> Iterator[Client]:
    """A server for one test and who manages it; it serves this version, and None leaves that to the test."""
    with temporary_server(settings) as server:
        client = Client(server.url, server.admin_token)
        if version:
            _serve(client, settings, version)
        yield client


def _serve(client: Client, settings: Settings, version: str) -> None:
    path = f"/api/2.0/serving-endpoints/{ENDPOINT_NAME}"
    entity = {"entity_name": registry.registered_model_name(settings), "entity_version": version}
    client.ask("PUT", f"{path}/config", json={"served_entities": [entity]}).raise_for_status()
    deadline = time.monotonic() + 60
    while (state := client.ask("GET", path).json()["state"])["config_update"] == "IN_PROGRESS":
        assert time.monotonic() < deadline, state
        time.sleep(0.02)
    if state["config_update"] == "UPDATE_FAILED":
        raise EndpointError(client.ask("GET", f"{path}/served-models/{version}/build-logs").json()["logs"])
