"""``churn migrate``, as a person meets it after an upgrade."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from churn_assets import cli
from churn_assets import settings as settings_module
from churn_assets.lakehouse import folder_lake as lake_module
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import USERS, Table
from churn_assets_tests.rows import D, frame

Churn = Callable[..., Result]


@pytest.fixture
def churn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deployment: str) -> Churn:
    """The command in a folder of its own, whatever the environment says."""
    monkeypatch.chdir(tmp_path)
    for name in {*settings_module.Settings().as_env(), "DAGSTER_HOME"}:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_LAKE_ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("CHURN_DEPLOYMENT", deployment)
    return lambda *arguments: CliRunner().invoke(cli.app, ["migrate", *arguments])


@pytest.fixture
def write_users(
    churn: Churn, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Table], None]:
    """Users as a release with another contract wrote them."""

    def write(contract: Table) -> None:
        lake = FolderLakehouse(settings_module.load(), lambda: spark)
        rows = frame(spark, USERS, [(1, D, D, "DE", None)]).selectExpr(
            *(column.name for column in contract.columns if column.name in USERS.column_names),
            *(f"1L AS {column.name}" for column in contract.columns if column.name not in USERS.column_names),
        )
        lake.write(contract, rows)
        # What another process wrote.
        monkeypatch.setattr(lake_module, "_POINTERS", {})

    return write


def test_a_new_lake_has_nothing_to_migrate_and_none_is_made(churn: Churn, tmp_path: Path) -> None:
    answer = churn()

    assert answer.exit_code == 0
    assert "has no tables yet" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_columns_are_said_then_added_then_there(churn: Churn, write_users: Callable[[Table], None]) -> None:
    write_users(replace(USERS, columns=USERS.columns[:-1]))

    preview, added, again = churn("--dry-run"), churn(), churn("--dry-run")

    assert {preview.exit_code, added.exit_code, again.exit_code} == {0}
    assert "main_catalog.clean.users: gains source_user_id (string)\n" in preview.stdout
    assert "main_catalog.clean.events: is new\n" in preview.stdout
    assert "Nothing was changed." in preview.stdout
    assert "main_catalog.clean.users: gained source_user_id (string)\n" in added.stdout
    assert "clean.users" not in again.stdout


def test_a_column_that_no_contract_knows_is_refused_in_one_line_that_says_what_to_do(
    churn: Churn,
    write_users: Callable[[Table], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_users(replace(USERS, columns=(*USERS.columns, replace(USERS.columns[0], name="shoe_size"))))
    monkeypatch.setattr(sys, "argv", ["churn", "migrate"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    (line,) = [text for text in capsys.readouterr().err.splitlines() if not text.startswith("  ")]
    assert ended.value.code == 1
    assert "is not main_catalog.clean.users: shoe_size bigint instead of none." in line
    assert "a contract may gain columns, and none may be removed, renamed or retyped" in line
