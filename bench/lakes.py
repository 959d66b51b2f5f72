"""Lakes of their own for benchmarks of the pipeline."""

import datetime as dt
from pathlib import Path

from churn_assets import settings as settings_module
from churn_assets.settings import Settings

START = dt.date(2026, 1, 1)
HORIZON = 30


def settings_of(folder: Path, start: dt.date = START) -> Settings:
    """A lake in this folder, with an instance of its own."""
    return settings_module.load(
        _env_file=None,
        deployment="local",
        lake_root=folder / "lake",
        landing_root=str(folder / "landing"),
        mlflow_tracking_uri="",
        dagster_home=folder / "dagster",
        start_date=start,
        horizon_days=HORIZON,
    )
