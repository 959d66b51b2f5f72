"""The ``churn`` command, and the settings of a lake that one runs on."""

import sys
from pathlib import Path

from churn_assets.settings import Settings
from churn_assets_tests import conftest
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON

CHURN = Path(sys.executable).with_name("churn")


def settings_in(folder: Path) -> Settings:
    """Settings of a lake with everything in this folder, for the files that ``house`` has."""
    return conftest.settings_in(
        folder,
        deployment="local",
        dagster_home=folder / "lake" / "dagster",
        start_date=FIRST_DAY,
        horizon_days=HORIZON,
    )
