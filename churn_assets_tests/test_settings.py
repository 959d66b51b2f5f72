"""Settings are read once, say what is wrong with them, and travel."""

import datetime as dt
import os
from pathlib import Path

import pytest

from churn_assets import settings
from churn_assets.errors import SettingsError
from churn_assets_tests.conftest import MakeSettings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings.Settings().as_env():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_any_setting_everything_lies_below_the_folder_lake(tmp_path: Path) -> None:
    found = settings.load()

    assert found.deployment == "local"
    assert found.lake_root == tmp_path / "lake"
    assert found.landing_root == str(tmp_path / "lake" / "landing" / "events")
    assert found.mlflow_tracking_uri == f"sqlite:///{tmp_path}/lake/mlflow/mlflow.db"
    assert found.dagster_home_folder == tmp_path / "lake" / "dagster"


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("CHURN_START_DATE=2011-01-01\nCHURN_HORIZON_DAYS=7\n")
    monkeypatch.setenv("CHURN_START_DATE", "2012-02-02")

    found = settings.load()

    assert (found.start_date, found.horizon_days) == (dt.date(2012, 2, 2), 7)


def test_settings_survive_the_trip_to_the_cluster(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make_settings(
        end_date="2026-03-01",
        main_catalog="prod",
        databricks_tags="team=growth",
        databricks_spot=True,
        landing_root="s3://bucket/events",
        label_event_types="b, a",
    )

    for name, value in here.as_env().items():
        monkeypatch.setenv(name, value)

    assert settings.load() == here


def test_event_types_that_count_have_one_spelling(make_settings: MakeSettings) -> None:
    assert (
        make_settings(label_event_types=" renewal, purchase,,renewal").label_event_types == "purchase,renewal"
    )
    assert make_settings(label_event_types="purchase").staying_types == ("purchase",)
    assert make_settings(label_event_types=" , ").staying_types == ()


@pytest.mark.parametrize("text", ['{"team": "growth", "cost": "4=2"}', "team=growth, cost=4=2"])
def test_tags_are_json_or_pairs(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CHURN_DATABRICKS_TAGS", text)

    assert settings.load().databricks_tags == {"team": "growth", "cost": "4=2"}


def test_secrets_do_not_travel_and_are_not_shown(make_settings: MakeSettings) -> None:
    here = make_settings(endpoint_token="hunter2", databricks_token="dapi123")

    assert "hunter2" not in str(here.as_env()) + repr(here)
    assert "dapi123" not in str(here.as_env()) + repr(here)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("CHURN_DEPLOYMENT", "laptop", "input should be 'local', 'spark' or 'databricks'"),
        ("CHURN_START_DATE", "yesterday", "input should be a valid date"),
        ("CHURN_HORIZON_DAYS", "0", "greater than or equal to 1"),
        ("CHURN_MAIN_CATALOG", "my catalog", "should match pattern"),
        ("CHURN_DATABRICKS_TAGS", "growth", 'pairs such as "team=growth,cost_center=42"'),
        ("CHURN_DATABRICKS_TAGS", "{growth", 'pairs such as "team=growth,cost_center=42"'),
    ],
)
def test_a_value_that_cannot_be_used_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as error:
        settings.load()

    assert f"{variable}={value!r}" in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_misspelt_setting_is_named_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"CHURN_HORIZON_DAYS": "7", "CHURN_DATABRICKS_HOST": "https://x"})
    Path(".env").write_text("CHURN_HORIZON_DAY=7\nCHURN_START_DATE=2011-01-01\nCHURN_COLOUR=red\nOTHER=1\n")

    assert settings.without_a_setting() == [
        "CHURN_COLOUR is no setting and is ignored: see docs/reference/settings.md.",
        "CHURN_DATABRICKS_HOST is no setting and is ignored: did you mean DATABRICKS_HOST?",
        "CHURN_HORIZON_DAY is no setting and is ignored: did you mean CHURN_HORIZON_DAYS?",
    ]


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="CHURN_END_DATE=2026-01-01 is before CHURN_START_DATE=2026-01-02"
    ):
        settings.load(start_date="2026-01-02", end_date="2026-01-01")


def test_an_address_needs_no_slash_at_its_end() -> None:
    assert settings.load(endpoint_url="http://127.0.0.1:8080/").endpoint_url == "http://127.0.0.1:8080"
