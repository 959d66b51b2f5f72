"""Lakes that releases' own code made go on with a release whose contract has a column more than today's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from deltalake import DeltaTable

from churn_assets import settings as settings_module
from churn_assets.dates import ONE_DAY
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    EVENTS,
    FEATURE_COLUMNS,
    FEATURE_DRIFT,
    HISTORY,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    USERS,
    Table,
)
from churn_assets_tests.releases import goes_on
from churn_assets_tests.releases.next_release import FEATURE, with_a_feature_more
from churn_assets_tests.releases.unpack import FIRST_DAY, HORIZON, unpack

REBUILT = (
    LANDED_EVENTS,
    EVENTS,
    QUARANTINED_EVENTS,
    USERS,
    USER_DAILY_ACTIVITY,
    DAILY_SUMMARY,
    USER_MONTHLY_ACTIVITY,
    USER_FEATURES,
    CHURN_LABELS,
)

# Late events changed the features of these dates after they had been scored.
LATE = (FIRST_DAY + 38 * ONE_DAY, FIRST_DAY + 39 * ONE_DAY)


def settings_of(lake_root: Path, deployment: str, landing: Path | None = None) -> Settings:
    return settings_module.load(
        _env_file=None,
        deployment=deployment,
        spark_master="local[2]",
        lake_root=lake_root,
        landing_root=str(landing or ""),
        mlflow_tracking_uri="",
        dagster_home=lake_root / "dagster",
        start_date=FIRST_DAY,
        horizon_days=HORIZON,
        # Nobody listens there.
        endpoint_url="http://127.0.0.1:9",
    )


def rows_of(lake_root: Path, table: Table, *more: str) -> Any:
    """Every row of a table but timestamps of the run, in one order."""
    location = lake_root / table.catalog / table.schema / table.name
    columns = [*table.content_columns, *more]
    found = DeltaTable(location).to_pyarrow_table(columns=columns)
    return found.sort_by([(name, "ascending") for name in columns]).to_pylist()


class Went(NamedTuple):
    """A lake of an earlier release before and after the next one went on with it."""

    of: str
    before: Path
    after: Path
    found: dict[str, Any]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next release."""
    return with_a_feature_more(tmp_path_factory.mktemp("next"))


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory, release: Path) -> Path:
    """A lake of the same events that the next release made alone."""
    folder = tmp_path_factory.mktemp("rebuilt")
    landing = unpack("0.1.0", folder / "events") / "landing" / "events"
    # On the engine that takes seconds, whatever the other one computes on: both give equal tables.
    settings = settings_of(folder / "lake", "local", landing)
    _asked(release, settings, "--rebuild")
    return settings.lake_root


@pytest.fixture(scope="module", params=["0.1.0", "0.2.0"])
def went(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    deployment: str,
    release: Path,
) -> Went:
    folder = tmp_path_factory.mktemp("release")
    lake_root = unpack(request.param, folder)
    before = shutil.copytree(lake_root, folder / "before")
    said = _asked(release, settings_of(lake_root, deployment))
    return Went(request.param, before, lake_root, json.loads(said.splitlines()[-1]))


def _asked(release: Path, settings: Settings, *arguments: str) -> str:
    """What a process of the release prints."""
    environment = {
        "HOME": os.environ["HOME"],
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(release),
        **settings.as_env(),
    }
    command = [sys.executable, goes_on.__file__, *arguments]
    done = subprocess.run(
        command, cwd=release, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_what_changes_is_said_before_and_nothing_after(went: Went) -> None:
    before = went.found["before"]

    if went.of == "0.1.0":
        # 0.1.0 kept no ledger, so nobody can say what these dates were computed from.
        history = [column.name for column in HISTORY]
        assert before["user_features"] == [*history, FEATURE, "not in the ledger"]
        assert before["users"][0] == "source_user_id"
        assert before["user_daily_activity"] == ["amount", "not in the ledger"]
        assert before["user_monthly_activity"] == ["is new", "missing"]
    else:
        assert before["user_features"] == [FEATURE, "code_version changed"]
        assert before["retention_list"] == ["uplift", "upstream newer"]
        assert before["treatment_outcomes"] == [
            "uplift_gain",
            "uplift_gain_low",
            "uplift_gain_high",
            "uplift_reason",
        ]
        assert "users" not in before
    assert went.found["after"] == {}


@pytest.mark.parametrize("table", REBUILT, ids=lambda table: table.name)
def test_its_rows_are_those_of_a_lake_that_the_next_release_made_alone(
    went: Went, rebuilt: Path, table: Table
) -> None:
    more = [FEATURE] if table is USER_FEATURES else []

    assert rows_of(went.after, table, *more) == rows_of(rebuilt, table, *more)


def test_versions_of_six_features_score_explain_and_watch_as_before(went: Went) -> None:
    assert went.found["rescored"] == {"1": 0.0, "2": 0.0}
    assert went.found["computed"]["main_catalog.gold.churn_predictions"] == 1
    for table in (CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT):
        before, after = (
            [row for row in rows_of(root, table) if row["feature_date"] not in LATE]
            for root in (went.before, went.after)
        )
        assert before == after


def test_the_endpoint_serves_such_a_version_beside_features_that_it_does_not_know(went: Went) -> None:
    online = went.after / "serving" / "online"
    meta = json.loads((online / (online / "CURRENT").read_text() / "meta.json").read_text())

    assert meta["columns"] == [*FEATURE_COLUMNS, FEATURE]
    assert went.found["agrees"] == "SUCCEEDED"
