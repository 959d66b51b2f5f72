"""The versions that the scoring server is measured with: the demo's Production and each kind of candidate."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd

from bench import peers
from churn_assets.model.candidates import calibration, entrants, estimators, fitting
from churn_assets.model.candidates.entrants import Entrant
from churn_assets.model.data.dataset import Frames, without_history
from churn_assets.model.logged import packaging
from churn_assets.model.registry import registry
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS

PRODUCTION = "Production of make demo"
TRAINING_ROWS = 25_000
CALIBRATION_ROWS = 5_000


class ServedModel(NamedTuple):
    """A version that ``Production`` names in the registry of ``settings``: its kind and its estimator."""

    kind: str
    estimator: Any
    settings: Settings


def of_the_demo(settings: Settings) -> ServedModel:
    """Make the demo's lake, unless it is there, and return its Production version."""
    if registry.production_version(settings) is None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("CHURN_", "MLFLOW_"))
        }
        for command in (["simulate", "--sample"], ["run"]):
            subprocess.run(  # noqa: S603 - our own commands
                [Path(sys.executable).with_name("churn"), *command],
                env={**kept, "CHURN_LAKE_ROOT": str(settings.lake_root)},
                check=True,
                stdout=subprocess.DEVNULL,
            )
    registry.configure(settings)
    version = registry.production_version(settings)
    if version is None:
        raise SystemExit(f"No version is Production in {settings.lake_root}. Run: churn run")
    loaded: Any = mlflow.pyfunc.load_model(registry.model_uri(settings, str(version.version)))
    estimator = loaded.unwrap_python_model().estimator
    return ServedModel(f"{PRODUCTION}: {kind_of(estimator)}", estimator, settings)


def candidates(settings: Settings, only: str = "") -> Iterator[ServedModel]:
    """Fit one of each kind, with a sigmoid map and a fallback, and make each Production in turn.

    Args:
        settings: of an empty lake.
        only: a part of the names of those that are wanted.
    """
    frames = Frames(_labelled(TRAINING_ROWS, 1), _labelled(CALIBRATION_ROWS, 2), _labelled(10, 3))
    window = without_history(frames)
    plain = fitting.fit(_entrants(history=False)["hist_gradient_boosting"], window).fitted
    fallback = calibration.with_bounded_map(plain, window.calibration, "none")
    registry.configure(settings)
    for entrant in _entrants(history=True).values():
        if entrant.name == estimators.FLOOR or entrant.name.startswith(entrants.SEARCHED):
            continue
        if only not in entrant.name:
            continue
        fitted = fitting.fit(entrant, frames).fitted
        mapped = calibration.with_bounded_map(fitted, frames.calibration, "sigmoid")
        estimator = fitting.with_fallback(mapped, fallback)
        _promote(settings, estimator, frames.train.head(3))
        yield ServedModel(entrant.name, estimator, settings)


def rows(count: int, seed: int = 1) -> pd.DataFrame:
    """Return random features in the platform's ranges, with a history, one row for each user."""
    random = np.random.default_rng(seed)
    window = peers.rows(count, seed)
    before = random.integers(0, 300, count)
    gap = random.uniform(1, 20, count).round(2)
    history = {
        "active_days_90d": window["active_days_30d"] + before // 8,
        "active_days_total": window["active_days_30d"] + before,
        "event_count_total": window["event_count_30d"] + 3 * before,
        "purchase_count_total": window["purchase_count_30d"] + before // 5,
        "mean_gap_days": gap,
        "longest_gap_days": 3 * gap,
        "overdue_ratio": (window["days_since_last_event"] / gap).round(3),
        "days_since_last_purchase": window["days_since_last_event"] + random.integers(0, 40, count),
        "amount_total": (before * random.uniform(1, 30, count)).round(2),
    }
    return window.assign(**history).loc[:, FEATURE_COLUMNS].astype("float64")


def kind_of(estimator: Any) -> str:
    """Return the names of the classes that score rows with a history."""
    from churn_assets.model.logged.explain import uncalibrated

    inner = uncalibrated(getattr(estimator, "estimator", estimator))
    parts = getattr(inner, "parts_", [])
    return " and ".join(type(part).__name__ for part in parts) or type(inner).__name__


def _entrants(*, history: bool) -> dict[str, Entrant]:
    return {entrant.name: entrant for entrant in entrants.entrants(history=history)}


def _labelled(count: int, seed: int) -> pd.DataFrame:
    features = rows(count, seed)
    chance = 1 / (1 + np.exp(-(features["days_since_last_event"] - features["active_days_30d"]) / 6))
    label = (np.random.default_rng(seed + 10).random(count) < chance).astype("int64")
    keys = pd.DataFrame(
        {"user_id": np.arange(count) + count * seed, "feature_date": pd.Timestamp("2026-01-01")}
    )
    return keys.join(features).assign(label=label)


def _promote(settings: Settings, estimator: Any, example: pd.DataFrame) -> None:
    mlflow.set_experiment(registry.experiment_name(settings))
    with mlflow.start_run() as run:
        uri = packaging.log_churn_model(mlflow, estimator, example)
    registry.promote(settings, str(registry.register(settings, uri, run.info.run_id).version))
