"""``churn run`` killed with SIGKILL, again and again: the next one makes good whatever it left behind."""

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from churn_assets.automation.history.dead_runs import UNFINISHED
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    TABLES,
    USER_DAILY_ACTIVITY,
    Table,
)
from churn_assets_tests.end_to_end import conftest
from churn_assets_tests.end_to_end.command import settings_in
from churn_assets_tests.end_to_end.conftest import Frame
from churn_assets_tests.forked import at_work, churn, wait_until


# Of the session, so that it comes before a house is built.
@pytest.fixture(scope="session", autouse=True)
def _on_sail_only(deployment: str) -> None:
    if deployment != "local":
        pytest.skip("each command would start a Spark of its own; what is killed is the same code on both")


@pytest.fixture
def settings(tmp_path: Path, landed: Path) -> Settings:
    """A lake that nobody has run on, with the files that ``expected`` knows."""
    shutil.copytree(landed, tmp_path / "landing")
    return settings_in(tmp_path)


def commits(settings: Settings, table: Table, at_least: int) -> Callable[[], bool]:
    """Whether the table has been written to: version 0 is the empty table."""
    folder = FolderLakehouse(settings, _no_engine).location(table) / "_delta_log"
    return (folder / f"{at_least:020}.json").exists


def trained(settings: Settings) -> bool:
    """Whether a model's files are there; its registration comes after them."""
    return any((settings.lake_root / "mlflow" / "artifacts").rglob("MLmodel"))


def unfinished(settings: Settings) -> int:
    """How many runs the history takes to be at work."""
    with dg.DagsterInstance.from_config(str(settings.dagster_home_folder)) as instance:
        return instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED))


def content(settings: Settings, table: Table) -> Frame:
    return conftest.content(FolderLakehouse(settings, _no_engine).location(table), table)


def _no_engine():
    raise AssertionError("looking at a lake needs no engine")


def test_killed_at_many_moments_the_lake_ends_as_if_nothing_had_happened(
    settings: Settings, landed: Path, expected: Callable[[Table], Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home_folder))
    moments: dict[str, Callable[[], bool]] = {
        "Bronze is committed, and nobody has written that down": commits(settings, LANDED_EVENTS, 1),
        "quarantine is committed and its events are not": commits(settings, QUARANTINED_EVENTS, 1),
        "activity is committed, and the rest of its run is not": commits(settings, USER_DAILY_ACTIVITY, 1),
        "a model is saved and not registered": lambda: trained(settings),
        "predictions are committed": commits(settings, CHURN_PREDICTIONS, 1),
    }
    for moment, reached in moments.items():
        with at_work(settings, "run") as command:
            wait_until(reached, command)
            command.kill()
        assert unfinished(settings) == 1, f"nothing was in hand when {moment}"

    ended = churn(settings, "run")
    assert ended.exit_code == 0, ended.err

    assert "Production model: version" in ended.out
    assert unfinished(settings) == 0
    lines = {path.name: len(path.read_bytes().splitlines()) for path in landed.iterdir()}
    assert Counter(content(settings, LANDED_EVENTS)["_source_file"]) == lines
    for table in TABLES:
        if table is not CHURN_PREDICTIONS:
            pd.testing.assert_frame_equal(content(settings, table), expected(table))
    # Who was scored; a model that was trained again after the kill is another version of the same thing.
    pd.testing.assert_frame_equal(
        content(settings, CHURN_PREDICTIONS), expected(CHURN_PREDICTIONS), atol=1e-9
    )


def test_of_two_runs_at_once_the_second_says_so_and_the_first_goes_on(settings: Settings) -> None:
    for file in sorted(Path(settings.landing_root).iterdir())[2:]:
        file.unlink()
    with at_work(settings, "run") as first:
        wait_until((settings.lake_root / ".locks" / "churn-run.lock").exists, first)
        wait_until(commits(settings, LANDED_EVENTS, 0), first)
        # Not over before the second one asks, however fast the machine is.
        first.send(signal.SIGSTOP)
        second = churn(settings, "run")
        assert second.exit_code == 1
        assert second.err.strip() == (
            "churn: Another churn run is at work on this lake. Wait for it, or see what it does: churn dev."
        )
        assert second.out == ""

        first.send(signal.SIGCONT)
        ended = first.wait()
        assert ended.exit_code == 0, ended.err
