"""The lakes that faults meet: files of some users, and what one undisturbed run makes of them."""

import datetime as dt
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from deltalake import DeltaTable

from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import LANDED_EVENTS, TABLES, Table
from churn_assets_tests import conftest
from churn_assets_tests.forked import churn

# A pandas DataFrame.
Frame = Any

# Columns that number a version: one whose training was killed has its number all the same.
NUMBERS = {"model_version", "version", "previous_version"}

FIRST_DAY = dt.date(2026, 1, 1)
DAYS = 20
HORIZON = 3
# A model takes 10,000 labelled rows, which this many users have.
WITH_A_MODEL = 1500
WITHOUT_A_MODEL = 60


class Undisturbed(NamedTuple):
    """A lake that one run made, with the files it came from beside it."""

    settings: Settings

    @property
    def landed(self) -> Path:
        return Path(self.settings.landing_root)

    def copy_landed(self, folder: Path) -> Settings:
        """Settings of a new lake over copies of the same files."""
        shutil.copytree(self.landed, folder / "landing")
        return settings_in(folder)

    def copy_all(self, folder: Path) -> Settings:
        """Settings of a copy of the lake."""
        shutil.copytree(self.settings.lake_root, folder / "lake")
        return self.copy_landed(folder)

    def assert_equal(self, settings: Settings) -> None:
        """Each table holds the same rows: none is lost, none is there twice, none differs."""
        for table in TABLES:
            if not location(self.settings, table).exists():
                assert not location(settings, table).exists()
                continue
            here, there = content(self.settings, table), content(settings, table)
            pd.testing.assert_frame_equal(there, here, obj=str(table), atol=1e-9)
        assert lines_of_bronze(settings) == lines_landed(self.landed)


def settings_in(folder: Path) -> Settings:
    return conftest.settings_in(
        folder,
        deployment="local",
        dagster_home=folder / "lake" / "dagster",
        start_date=FIRST_DAY,
        end_date=FIRST_DAY + dt.timedelta(days=DAYS - 1),
        horizon_days=HORIZON,
        # Two trainings are compared, so neither may end by the clock of a busy machine.
        training_seconds=3600,
    )


def simulated(folder: Path, users: int) -> Settings:
    """Settings of a lake that nobody has run on, over files of so many users."""
    folder.mkdir(exist_ok=True)
    settings = settings_in(folder)
    arguments = ("--days", str(DAYS), "--start", str(FIRST_DAY), "--users", str(users))
    ended = churn(settings, "simulate", *arguments)
    assert ended.exit_code == 0, ended.err
    return settings


def location(settings: Settings, table: Table) -> Path:
    return FolderLakehouse(settings, _no_engine).location(table)


def content(settings: Settings, table: Table) -> Frame:
    """What two runs agree on, in one order."""
    names = [name for name in table.content_columns if name not in NUMBERS]
    rows = DeltaTable(location(settings, table)).to_pyarrow_table(columns=names)
    order = [name for name in table.key if name in names] or names
    return rows.sort_by([(name, "ascending") for name in order]).to_pandas()


def doubled_keys(settings: Settings, table: Table) -> int:
    """How many rows of a table have the key of another one, as a reader of this moment finds it.

    Bronze has no key: a line may land twice.
    """
    rows = DeltaTable(location(settings, table)).to_pyarrow_table(columns=list(table.key) or None)
    return rows.num_rows - rows.group_by(list(table.key)).aggregate([]).num_rows if table.key else 0


def lines_of_bronze(settings: Settings) -> Counter[str]:
    files = DeltaTable(location(settings, LANDED_EVENTS)).to_pyarrow_table(columns=["_source_file"])
    return Counter(files["_source_file"].to_pylist())


def lines_landed(landing: Path) -> Counter[str]:
    paths = (path for path in landing.rglob("*") if path.is_file())
    return Counter({str(path.relative_to(landing)): len(path.read_bytes().splitlines()) for path in paths})


def left_behind(settings: Settings) -> list[str]:
    """What a run makes while it is at work and takes away: temporary files, unfinished folders."""
    kept = {".locks"}
    return sorted(
        str(path.relative_to(settings.lake_root))
        for path in settings.lake_root.rglob("*")
        if (path.name.endswith((".tmp", ".new", ".part", "-journal")) or path.name.startswith(".new"))
        and not kept & set(path.parts)
    )


def _no_engine() -> Any:
    raise AssertionError("looking at a lake needs no engine")
