"""What one attaches to an issue says how things are, and no secret, no name and no path of the machine."""

import datetime as dt
import os
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.history.last_failure import last_failure
from churn_assets.doctor import Finding
from churn_assets.errors import LandingError
from churn_assets.issue_report import NAMES_PEOPLE, issue_report
from churn_assets.settings import Settings, load
from churn_assets_tests.conftest import MakeSettings

# Every setting that is free text, with a value that nothing else of the report has.
FREE_TEXTS = {
    "CHURN_LABEL_EVENT_TYPES": "visited_clinic",
    "CHURN_DATABASE_URL": "postgresql://dbuser:db%2Fpass@db.example.org/churn",
    "CHURN_ENDPOINT_URL": "https://scores.example.org:8443",
    "CHURN_ENDPOINT_TOKEN": "endpoint-token-1",
    "CHURN_ENDPOINT_ADMIN_TOKEN": "endpoint-token-2",
    "CHURN_CONTROL_SEED": "control-seed-3",
    "CHURN_DELIVERY_WEBHOOK": "https://crm.example.org/hooks/hook-id-4",
    "CHURN_DELIVERY_SECRET": "delivery-secret-5",
    "CHURN_DELIVERY_FOLDER": "/srv/crm-inbox-6",
    "DATABRICKS_TOKEN": "dapi-token-7",
    "DATABRICKS_CLIENT_SECRET": "client-secret-8",
    "DATABRICKS_HOST": "https://adb-9.example.net",
    "CHURN_ALERT_EMAILS": "ada@example.org,grace@example.org",
    "CHURN_ALERT_WEBHOOK": "https://chat.example.org/T-10",
    "CHURN_SMTP_HOST": "mail11.example.org",
    "CHURN_SMTP_USER": "smtp-user-12",
    "CHURN_SMTP_PASSWORD": "pw13",
    "CHURN_LANDING_ROOT": "/srv/landing-14",
}
PARTS = (
    *("dbuser", "db%2Fpass", "db/pass", "db.example.org", "scores.example.org", "hook-id-4", "T-10"),
    *("ada@example.org", "grace@example.org", "crm.example.org"),
)
ANOTHERS = {"AWS_SECRET_ACCESS_KEY": "aws-secret-15", "SLACK_TOKEN": "x16"}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)
    for name, value in {**FREE_TEXTS, **ANOTHERS, "CHURN_HORIZON_DAYS": "14"}.items():
        monkeypatch.setenv(name, value)
    return load()


def test_no_text_of_a_setting_and_no_secret_of_the_environment_is_in_it(settings: Settings) -> None:
    private = [*FREE_TEXTS.values(), *ANOTHERS.values(), *PARTS]
    findings = [Finding("all", is_well=False, says=f"cannot use {text}, mend it") for text in private]

    report = issue_report(settings, findings, f"failed: {' '.join(private)}")

    assert [text for text in private if text in report] == []
    assert report.count("mend all: cannot use <") == len(private)


def test_every_secret_of_the_settings_is_one_here(settings: Settings) -> None:
    secrets = {name for name, field in Settings.variables().items() if not Settings.model_fields[field].repr}

    assert secrets <= FREE_TEXTS.keys()
    report = issue_report(settings, [], None)
    assert all(f"- {name}=(a secret) (environment)" in report.splitlines() for name in secrets)


def test_numbers_choices_and_addresses_of_this_machine_are_shown_and_of_texts_that_they_are_set(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text("CHURN_DAGSTER_URL=http://127.0.0.1:3005\nCHURN_DATABRICKS_LAUNCHER=pipes\n")

    lines = issue_report(load(), [], None).splitlines()

    assert {
        "- CHURN_HORIZON_DAYS=14 (environment)",
        "- CHURN_LABEL_EVENT_TYPES=(set) (environment)",
        "- CHURN_DAGSTER_URL=http://127.0.0.1:3005 (.env)",
        "- CHURN_DATABRICKS_LAUNCHER=pipes (.env)",
    } <= {*lines}


def test_paths_are_shortened_and_accounts_not_named(settings: Settings, tmp_path: Path) -> None:
    findings = [
        Finding("lake", is_well=True, says=f"{tmp_path}/lake can be written"),
        Finding("settings", is_well=True, says=f"none from {tmp_path}/.env"),
        Finding(
            "files", is_well=False, says=f"{Path.home()}/x and /var/lib/grace/y.json; http://127.0.0.1:1/z"
        ),
        Finding(NAMES_PEOPLE, is_well=True, says="grace has a shell"),
    ]

    lines = issue_report(settings, findings, None).splitlines()

    assert "- ok settings: none from ./.env" in lines
    assert "- mend files: ~/x and …/y.json; http://127.0.0.1:1/z" in lines
    assert "- ok other accounts: not shown" in lines
    assert not any(str(tmp_path) in line or "grace" in line for line in lines)


def test_what_an_error_quotes_is_left_out(settings: Settings) -> None:
    failed = "2026-01-05 10:00 UTC, events: CastError: cannot read 'Ada Lovelace' as \"bigint\""

    report = issue_report(settings, [], failed)

    assert report.endswith(
        "### Last failed run\n2026-01-05 10:00 UTC, events: CastError: cannot read '…' as '…'"
    )


def test_of_the_failed_runs_it_is_the_last_ones_line_and_asking_makes_no_history(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = make_settings(deployment="local", dagster_home=tmp_path / "lake" / "dagster")
    # Who opens a history sets it for the process.
    monkeypatch.setenv("DAGSTER_HOME", "")

    assert last_failure(settings) is None
    assert not settings.dagster_home_folder.exists()

    with dagster_instance(settings) as instance:
        for says in ("The first is gone.", "The second file is gone."):
            _fail(instance, says)
    ended, _, line = (last_failure(settings) or "").partition(" UTC, ")
    assert line == "fails: The second file is gone."
    assert dt.datetime.fromisoformat(ended)
    assert os.environ["DAGSTER_HOME"] == str(settings.dagster_home_folder)


def _fail(instance: dg.DagsterInstance, says: str) -> None:
    @dg.op
    def fails() -> None:
        raise LandingError(says)

    @dg.job
    def failing() -> None:
        fails()

    assert not failing.execute_in_process(instance=instance, raise_on_error=False).success
