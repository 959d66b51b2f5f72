"""The port that ``churn dev`` was given reaches the links of all commands."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn_assets import settings as settings_module
from churn_assets import ui_address
from churn_assets.cli import app


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A lake in a folder of its own, whatever the environment says."""
    monkeypatch.chdir(tmp_path)
    for name in {*settings_module.Settings().as_env(), "DAGSTER_HOME"}:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_LAKE_ROOT", str(tmp_path / "lake"))
    return tmp_path / "lake"


def test_without_a_note_links_lead_to_the_usual_port(lake: Path) -> None:
    assert settings_module.load().dagster_url == "http://127.0.0.1:3000"


def test_after_dev_links_of_other_commands_lead_to_its_port(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))

    result = CliRunner().invoke(app, ["dev", "--port", "4123"])

    assert result.exit_code == 0, result.output
    assert started[0][-2:] == ["-p", "4123"]
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert settings_module.load().dagster_url == "http://127.0.0.1:4123"
    CliRunner().invoke(app, ["dev"])
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert settings_module.load().dagster_url == "http://127.0.0.1:3000"


def test_a_setting_wins_and_needs_no_slash_at_its_end(lake: Path) -> None:
    (lake / "dagster").mkdir(parents=True)
    ui_address.note(lake / "dagster", 4123)

    assert settings_module.load(dagster_url="https://dagster.example.com/").dagster_url == (
        "https://dagster.example.com"
    )


def test_a_history_elsewhere_has_its_own_note(lake: Path, tmp_path: Path) -> None:
    (lake / "dagster").mkdir(parents=True)
    ui_address.note(lake / "dagster", 4123)
    (tmp_path / "elsewhere").mkdir()
    ui_address.note(tmp_path / "elsewhere", 5123)

    assert settings_module.load(dagster_home=tmp_path / "elsewhere").dagster_url == "http://127.0.0.1:5123"
    assert settings_module.load().dagster_url == "http://127.0.0.1:4123"


def test_a_broken_note_is_none(tmp_path: Path) -> None:
    (tmp_path / ui_address.NOTE).write_bytes(b"\xff\xfe")

    assert ui_address.noted(tmp_path) == ui_address.url_of()
