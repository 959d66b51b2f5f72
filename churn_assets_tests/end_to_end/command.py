"""The ``churn`` command as a process of its own, which a test may kill."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def at_work(settings: Settings, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command at work, ended with the block if it is not over by then."""
    environment = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin", **settings.as_env()}
    process = subprocess.Popen(
        [CHURN, *arguments],
        cwd=settings.lake_root.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
