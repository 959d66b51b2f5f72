"""``churn runs`` and the freshness in ``churn status``, as a person or a script meets them."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster import AssetMaterialization
from dagster._core.test_utils import freeze_time
from typer.testing import CliRunner, Result

from churn_assets import settings as settings_module
from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.cli import app
from churn_assets.dates import ONE_DAY
from churn_assets.errors import ModelError
from churn_assets.tables import CHURN_PREDICTIONS, USERS

Churn = Callable[..., Result]


@pytest.fixture
def churn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Churn:
    """The command in a folder of its own, whatever the environment says."""
    monkeypatch.chdir(tmp_path)
    for name in {*settings_module.Settings().as_env(), "DAGSTER_HOME"}:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_LAKE_ROOT", str(tmp_path / "lake"))
    return lambda *arguments: CliRunner().invoke(app, arguments)


def run(error: Exception | None = None) -> str:
    @dg.asset(key=asset_key(USERS))
    def users() -> None:
        if error:
            raise error

    job = dg.Definitions(assets=[users]).resolve_implicit_global_asset_job_def()
    with dagster_instance(settings_module.load()) as instance:
        return job.execute_in_process(instance=instance, raise_on_error=False).run_id


def test_before_anything_ran_there_is_nothing_to_show_and_nothing_is_made(
    churn: Churn, tmp_path: Path
) -> None:
    result = churn("runs")

    assert result.exit_code == 0
    assert "Nothing has run yet" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_failed_last_run_is_an_alert_with_its_page_and_exit_code_1(churn: Churn) -> None:
    run()
    run_id = run(ModelError("No model. Train one."))

    result = churn("runs", "--limit", "2")

    url = f"http://127.0.0.1:3000/runs/{run_id}"
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0].startswith("FAILURE ")
    assert lines[0].endswith(url)
    assert lines[1] == f"ALERT: main_catalog.clean.users failed: No model. Train one. - {url}"
    assert lines[2].startswith("SUCCESS ")
    assert [line.split()[:2] for line in lines if line.startswith("main_catalog__")] == [
        ["main_catalog__clean__users", "1"]
    ]


def test_a_failure_that_is_over_is_shown_and_is_no_failure_of_the_command(churn: Churn) -> None:
    run(ModelError("No model. Train one."))
    run()

    result = churn("runs")

    assert result.exit_code == 0
    assert result.stdout.count("ALERT:") == 1
    assert churn("runs", "--limit", "1").stdout.count("ALERT:") == 0
    assert churn("runs", "--limit", "0").exit_code == 2


def test_predictions_that_are_due_and_not_made_are_in_a_table(churn: Churn) -> None:
    run()
    assert "No predictions of the last 30 days came late." in churn("runs").stdout
    scored_at = dt.datetime.now(dt.UTC) - 5 * ONE_DAY
    with dagster_instance(settings_module.load()) as instance, freeze_time(scored_at):
        first = AssetMaterialization(
            asset_key(CHURN_PREDICTIONS), partition=f"{scored_at - ONE_DAY:%Y-%m-%d}"
        )
        instance.report_runless_asset_event(first)

    late = [line for line in churn("runs").stdout.splitlines() if "not yet" in line]

    # Since then four days have become due, and by 07:00 UTC yesterday as well.
    assert len(late) in {4, 5}
    assert late[-1].startswith(f"{scored_at:%Y-%m-%d}")


def test_status_says_what_is_fresh_and_looking_leaves_no_trace(churn: Churn, tmp_path: Path) -> None:
    assert json.loads(churn("status", "--json").stdout)["freshness"] == []
    assert list(tmp_path.iterdir()) == []

    run()
    freshness = json.loads(churn("status", "--json").stdout)["freshness"]

    states = {asset["asset"]: asset["state"] for asset in freshness}
    assert states.pop("main_catalog.clean.users") == "fresh"
    assert set(states.values()) == {"unknown"}
    assert "main_catalog.gold.churn_predictions" in states
