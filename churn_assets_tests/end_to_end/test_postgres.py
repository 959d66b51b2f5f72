"""A lake that ran with its histories in files goes on in PostgreSQL: nothing lost, nothing computed again."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.runs.past_runs import latest_runs
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.deployed_lake import lakehouse
from churn_assets.graph import build_defs
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import registry
from churn_assets.tables import CHURN_PREDICTIONS, DATED
from churn_assets.verification.verify import verify
from churn_assets_tests.end_to_end.conftest import NOW, House
from churn_assets_tests.postgres_server import PASSWORD, QUOTED_PASSWORD

CHURN = Path(sys.executable).with_name("churn")


def command(house: House, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on the house's lake, with its histories in this database."""
    kept = {name: value for name, value in house.settings.as_env().items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [CHURN, *arguments],
        cwd=house.settings.lake_root.parent,
        env={
            "HOME": str(house.settings.lake_root),
            "PATH": "/usr/bin:/bin",
            **kept,
            "CHURN_DATABASE_URL": url,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("on_sail")
def test_a_lake_moves_to_postgresql_and_goes_on(
    house: House,
    copy_of: Callable[[House, Path], House],
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    files = copy_of(house, tmp_path)
    before = registry.production(files.settings)
    dates = {table: files.lake.partition_rows(table) for table in DATED}
    versions = files.versions()
    assert before

    refused = command(files, database_url, "status")
    migrated = command(files, database_url, "migrate")
    wrong = command(files, database_url.replace(QUOTED_PASSWORD, "wr0ng"), "status")

    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "Carry them over: churn migrate" in refused.stderr
    assert migrated.returncode == 0, migrated.stderr
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "password authentication failed" in wrong.stderr

    settings = files.settings.model_copy(update={"database_url": database_url, "mlflow_tracking_uri": ""})
    assert repr(registry.production(settings)) == repr(before)
    lake = FolderLakehouse(settings, lambda: files.lake.spark)
    with dagster_instance(settings) as instance:
        report = Pipeline(build_defs(settings), lake, instance, lambda _: None).run(NOW)
        runs = latest_runs(instance, settings, 100)

    assert runs
    assert {run.state for run in runs} == {"SUCCESS"}
    assert report is not None
    # The history is new, and no date was computed again for that; the files beside it are as they were.
    moved = lakehouse(settings)
    assert {table: moved.partition_rows(table) for table in DATED} == dates
    same = [table for table in DATED if table is not CHURN_PREDICTIONS]
    assert {str(table): moved.version(table) for table in same} == {str(t): versions[str(t)] for t in same}
    assert [finding.line() for finding in verify(lake) if not finding.is_well] == []
    assert not (settings.dagster_home_folder / "history").exists()

    told = "".join(answer.stdout + answer.stderr for answer in (refused, migrated, wrong))
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode(
        errors="replace"
    )
    for secret in (PASSWORD, QUOTED_PASSWORD, "wr0ng"):
        assert secret not in told
        assert secret not in kept
