"""Lakes of their own for benchmarks of the pipeline."""

import datetime as dt
from pathlib import Path
from typing import Any

from churn_assets import settings as settings_module
from churn_assets.sample.simulator import simulate
from churn_assets.settings import Settings

START = dt.date(2026, 1, 1)
HORIZON = 30


def settings_of(folder: Path, start: dt.date = START, **others: Any) -> Settings:
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
        **others,
    )


def simulated(settings: Settings, users: int, days: int, seed: int) -> Path:
    """Land simulated events from ``START`` on, some late, doubled and broken.

    Returns:
        The file with the truth about the users.
    """
    truth = settings.lake_root.parent / "truth.csv"
    simulate(
        settings.landing_root,
        truth,
        users=users,
        days=days,
        start=START,
        seed=seed,
        late_share=0.02,
        duplicate_share=0.01,
        corrupt_share=0.002,
    )
    return truth
