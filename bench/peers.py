"""Starts the scoring server and ``mlflow models serve`` with the same model."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import requests

from churn_assets import settings as settings_module
from churn_assets.model.candidates import estimators
from churn_assets.model.logged import packaging
from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.settings import Settings
from churn_assets.tables import WINDOW_FEATURES

START_SECONDS = 90
TRAINING_ROWS = 25_000


@dataclass(frozen=True)
class Peer:
    """A running server: its name, the URL of its scoring route, the headers of a request, and its process."""

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    pid: int = 0

    def cpu_seconds(self) -> float:
        """Return the time that its processes have computed: who else uses the machine hardly changes it."""
        server = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
        return sum(of_one.user + of_one.system for of_one in times)


def settings_for(folder: Path, port: int, workers: int, lake: Path | None = None) -> Settings:
    """Return the settings of a lake, by default of a new one in a folder."""
    return settings_module.load(
        _env_file=None,
        lake_root=lake or folder / "lake",
        mlflow_tracking_uri="",
        endpoint_url=f"http://127.0.0.1:{port}",
        endpoint_token="bench",  # noqa: S106 - of a server that runs for a minute
        endpoint_workers=workers,
    )


def rows(count: int, seed: int = 1) -> pd.DataFrame:
    """Return random features in the platform's ranges, one row for each user."""
    random = np.random.default_rng(seed)
    highest = {"active_days_30d": 30, "days_since_last_event": 29, "account_age_days": 900}
    # Every user in the table has an event, and the endpoint refuses values out of the contract's range.
    lowest = {"event_count_30d": 1, "active_days_30d": 1}
    return pd.DataFrame(
        {
            name: random.integers(lowest.get(name, 0), highest.get(name, 120), count)
            for name in WINDOW_FEATURES
        }
    ).astype("float64")


def train(settings: Settings, seed: int = 1) -> Any:
    """Train the default estimator on as many rows as the pipeline does, and register it as Production.

    Returns:
        The fitted estimator.
    """
    features = rows(TRAINING_ROWS, seed)
    chance = 1 / (1 + np.exp(-(features["days_since_last_event"] - features["active_days_30d"]) / 6))
    labels = np.random.default_rng(2).random(TRAINING_ROWS) < chance
    estimator = estimators.make().fit(features, labels)
    registry.configure(settings)
    mlflow.set_experiment(registry.experiment_name(settings))
    with mlflow.start_run() as run:
        uri = packaging.log_churn_model(mlflow, estimator, features.head(3))
    registry.promote(settings, str(registry.register(settings, uri, run.info.run_id).version))
    return estimator


@contextlib.contextmanager
def churn_serve(settings: Settings) -> Iterator[Peer]:
    """Run the scoring server."""
    peer = Peer(
        "churn serve",
        f"{settings.endpoint_url}/serving-endpoints/{ENDPOINT_NAME}/invocations",
        {"Authorization": f"Bearer {settings.endpoint_token}"},
    )
    command = [sys.executable, "-m", "churn_assets.serving.server.main"]
    variables = {**settings.as_env(), "CHURN_ENDPOINT_TOKEN": str(settings.endpoint_token)}
    with _running(command, {**os.environ, **variables}, peer) as pid:
        yield replace(peer, pid=pid)


@contextlib.contextmanager
def mlflow_serve(settings: Settings, port: int, workers: int) -> Iterator[Peer]:
    """Run ``mlflow models serve`` in this environment."""
    peer = Peer("mlflow models serve", f"http://127.0.0.1:{port}/invocations")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", "models:/churn-prediction-model@Production", "-p", str(port), "--workers", str(workers)]
    # MLflow finds uvicorn through PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri, "PATH": path}
    with _running(command, environment, peer) as pid:
        yield replace(peer, pid=pid)


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], peer: Peer) -> Iterator[int]:
    server = subprocess.Popen(  # noqa: S603 - commands of this file
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(peer):
            if time.monotonic() > deadline or server.poll() is not None:
                raise SystemExit(f"{peer.name} does not start: {' '.join(command)}")
            time.sleep(0.2)
        yield server.pid
    finally:
        # MLflow's workers are in the same process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait()


def _answers(peer: Peer) -> bool:
    body = {"dataframe_records": rows(1).to_dict("records")}
    try:
        return requests.post(peer.url, json=body, headers=peer.headers, timeout=5).status_code == 200
    except requests.RequestException:
        return False
