"""A registry with a few small models in it, published features of two users, and a server over both."""

import contextlib
import datetime as dt
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from churn_assets.model import estimators, packaging, registry
from churn_assets.serving import online_store
from churn_assets.serving.contract import ENDPOINT_NAME, online_folder
from churn_assets.serving.temporary import RunningServer, temporary_server
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS
from churn_assets_tests.model.conftest import labelled_frame, local_settings, mlflow_state_as_it_was

FRAME = labelled_frame(users=100, dates=4)
FEATURES = FRAME.loc[:, FEATURE_COLUMNS].astype("float64")

# One user a reader can follow: lively, 6 months old.
RECORD = dict(zip(FEATURE_COLUMNS, (42, 15, 3, 2, 180, 100), strict=True))

FEATURE_DATE = dt.date(2026, 11, 22)
PUBLISHED = {42: [42.0, 15.0, 3.0, 2.0, 180.0, 100.0], 43: [1.0, 1.0, 28.0, 0.0, 400.0, 0.0]}

# By version, as it is registered below. Few trees, so that training takes no time.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "1": ("gradient_boosting", {"n_estimators": 10}),
    "2": ("hist_gradient_boosting", {"max_iter": 10}),
    "3": ("logistic_regression", {}),
}
BROKEN_PICKLE, FOREIGN, THREE_CLASSES = "4", "5", "6"


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
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A lake whose registry has ``MODELS`` and three that cannot be served; Production is version 1."""
    settings = local_settings(tmp_path_factory.mktemp("serving"))
    with mlflow_state_as_it_was():
        registry.configure(settings)
        import mlflow

        mlflow.set_experiment(registry.experiment_name(settings))
        for version, (name, params) in MODELS.items():
            fitted = estimators.make(name, params).fit(FEATURES, FRAME["label"])
            with mlflow.start_run() as run:
                uri = packaging.log_churn_model(mlflow, fitted, FEATURES.head(2))
            assert str(registry.register(settings, uri, run.info.run_id).version) == version
        _register_what_cannot_be_served(settings, tmp_path_factory.mktemp("bad"))
        registry.promote(settings, "1")
        publish_features(settings)
        yield settings


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
                signature=packaging.signature(FEATURE_COLUMNS),
                pip_requirements=[],
            )
        assert str(registry.register(settings, info.model_uri, run.info.run_id).version) == version


def publish_features(settings: Settings) -> None:
    """Let the server look users 42 and 43 up."""
    matrix = list(PUBLISHED.values())
    online_store.publish(
        online_folder(settings), list(PUBLISHED), matrix, FEATURE_COLUMNS, FEATURE_DATE, source_version=7
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
    return settings


@pytest.fixture(scope="session")
def running(registered: Settings) -> Iterator[RunningServer]:
    """A server of version 1, for tests that do not change it."""
    with temporary_server(registered, "1") as server:
        yield server


@pytest.fixture(scope="session")
def client(running: RunningServer) -> Client:
    return Client(running.url, running.token)


@pytest.fixture(scope="session")
def expected(registered: Settings) -> dict[str, float]:
    """By version, what MLflow itself answers for ``RECORD``."""
    return {version: mlflow_answers(registered, version, [RECORD])[0] for version in MODELS}


def mlflow_answers(settings: Settings, version: str, records: list[dict[str, Any]]) -> list[float]:
    """What ``mlflow.pyfunc`` answers, as the batch scoring does."""
    import mlflow.pyfunc
    import pandas as pd

    with mlflow_state_as_it_was():
        registry.configure(settings)
        model = mlflow.pyfunc.load_model(registry.model_uri(settings, version))
    frame = pd.DataFrame(records).astype("float64")
    return np.asarray(model.predict(frame)).tolist()


@contextlib.contextmanager
def server_of(settings: Settings, version: str | None = None) -> Iterator[Client]:
    """A server of a test's own."""
    with temporary_server(settings, version) as server:
        yield Client(server.url, server.token)
