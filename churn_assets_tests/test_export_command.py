"""``churn export``, as a person or a script meets it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as papq
import pytest
from typer.testing import CliRunner, Result

from churn_assets.cli import app
from churn_assets.errors import ChurnError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets_tests.retention.conftest import lake  # noqa: F401 - a fixture
from churn_assets_tests.rows import D, day

Export = Callable[..., Result]


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lake: FolderLakehouse) -> Export:  # noqa: F811 - the fixture
    monkeypatch.chdir(tmp_path)
    for name in Settings.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHURN_LAKE_ROOT", str(lake.settings.lake_root))
    return lambda *arguments: CliRunner().invoke(app, ["export", "--at-risk", *arguments])


def users(result: Result) -> list[tuple[str, str]]:
    assert result.exit_code == 0, result
    rows = csv.DictReader(io.StringIO(result.stdout, newline=""))
    return [(row["user_id"], row["source_user_id"]) for row in rows]


def test_whom_to_contact_after_the_last_date_goes_to_stdout_and_all_else_to_stderr(export: Export) -> None:
    result = export()

    assert users(result) == [("7", "'=HYPERLINK(0)"), ("9", "'@SUM(1)")]
    assert result.stderr == f"2 users to contact after {D}.\n"


def test_a_date_a_number_and_a_group_choose(export: Export) -> None:
    assert [user for user, _ in users(export("--date", str(day(-1)), "--top", "1"))] == ["7"]
    assert [user for user, _ in users(export("--group", "control"))] == ["8"]
    assert [user for user, _ in users(export("--group", "all"))] == ["7", "8", "9"]
    assert users(export("--date", str(day(-4)))) == []


def test_a_file_is_written_whole_and_nothing_beside_it(export: Export, tmp_path: Path) -> None:
    assert export("--format", "parquet", "--output", "list.parquet").exit_code == 0

    assert papq.read_table("list.parquet")["user_id"].to_pylist() == [7, 9]
    assert [path.name for path in tmp_path.iterdir()] == ["list.parquet"]
    assert [one["rank"] for one in json.loads(export("--format", "json").stdout)] == [1, 3]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--date", str(day(-2))),
            f"There is no list of {day(-2)}; the nearest are of {day(-4)} and {day(-1)}",
        ),
        (("--output", "nowhere/list.csv"), "Cannot write nowhere/list.csv: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_can(
    export: Export, arguments: tuple[str, ...], says: str
) -> None:
    result = export(*arguments)

    assert result.exit_code == 1
    assert isinstance(result.exception, ChurnError)
    assert says in str(result.exception)


def test_a_lake_without_a_list_says_how_one_is_made(
    export: Export, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHURN_LAKE_ROOT", str(tmp_path / "empty"))

    result = export()

    assert "has no list of any date yet" in str(result.exception)
    assert not (tmp_path / "empty").exists()


def test_what_to_export_has_to_be_said(export: Export) -> None:
    assert CliRunner().invoke(app, ["export"]).exit_code == 2
