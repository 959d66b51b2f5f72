"""``churn doctor``: what is well, what is to be mended, and that one illness hides no other."""

import os
import pwd
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from churn_assets import cli, doctor
from churn_assets.doctor import Finding
from churn_assets.errors import EnvironmentNotReadyError
from churn_assets.lakehouse import other_accounts
from churn_assets.lakehouse.engines import find_java, require_java
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import USERS
from churn_assets_tests.conftest import MakeSettings

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examine(spark: SparkSession) -> Examine:
    def run(settings: Settings) -> dict[str, Finding]:
        return {finding.name: finding for finding in doctor.examine(FolderLakehouse(settings, lambda: spark))}

    return run


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """Where all is well: one event file has landed."""
    settings = make_settings()
    Path(settings.landing_root).mkdir()
    Path(settings.landing_root, "events.json").touch()
    return settings


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A java on the path that says it is of some version."""
    monkeypatch.setenv("JAVA_HOME", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def install(says: str) -> None:
        program = tmp_path / "bin" / "java"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
        program.chmod(0o755)

    return install


def ill(findings: dict[str, Finding]) -> list[str]:
    return [name for name, finding in findings.items() if not finding.is_well]


def test_where_all_is_well_nothing_is_to_be_mended(examine: Examine, settings: Settings) -> None:
    findings = examine(settings)

    assert ill(findings) == []
    assert "has 1 event files" in findings["landing zone"].says
    assert findings["tables"].says == "0 of 16 exist, all as their contracts say"
    assert " answers 1" in findings["engine"].says


def test_it_says_from_where_settings_were_read(
    examine: Examine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_HORIZON_DAYS", "30")
    monkeypatch.setenv("CHURN_ENDPOINT_TOKEN", "a secret")
    file = tmp_path / ".env"
    file.write_text("MLFLOW_TRACKING_URI=http://elsewhere\nCHURN_HORIZON_DAYS=7\n")

    says = examine(settings)["settings"].says

    assert f"MLFLOW_TRACKING_URI from {file}" in says
    assert "CHURN_ENDPOINT_TOKEN, CHURN_HORIZON_DAYS" in says
    assert "a secret" not in says
    assert "http://elsewhere" not in says
    file.chmod(0o666)
    assert "can be written by others" in examine(settings)["settings"].says
    assert ill(examine(settings)) == ["settings"]


def test_accounts_that_could_use_the_engine_are_named_once_for_a_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def account(name: str, uid: int, shell: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", uid, uid, "", "/", shell))

    others = [account("root", 0, "/bin/bash"), account("me", os.getuid(), "/bin/bash")]
    others += [account("daemon", 1, "/usr/sbin/nologin")]
    monkeypatch.setattr(pwd, "getpwall", lambda: others)
    assert other_accounts.first_warning(tmp_path) is None

    others.append(account("eve", 4321, "/bin/zsh"))

    assert "have a shell (eve)" in str(other_accounts.first_warning(tmp_path))
    assert other_accounts.first_warning(tmp_path) is None
    assert "have a shell (eve)" in str(other_accounts.warning())


def test_a_missing_landing_zone_is_to_be_mended_and_the_rest_is_still_looked_at(
    examine: Examine, make_settings: MakeSettings
) -> None:
    findings = examine(make_settings())

    assert ill(findings) == ["landing zone"]
    assert "Create it" in findings["landing zone"].says
    assert list(findings)[-1] == "alerts"


def test_files_that_count_for_nothing_are_counted(examine: Examine, settings: Settings) -> None:
    Path(settings.landing_root, "notes.txt").touch()

    assert examine(settings)["landing zone"].says.endswith("has 1 event files, 1 others ignored")


def test_a_lake_that_cannot_be_written_is_to_be_mended(examine: Examine, settings: Settings) -> None:
    settings.lake_root.touch()

    findings = examine(settings)

    assert ill(findings) == ["lake"]
    assert "CHURN_LAKE_ROOT" in findings["lake"].says


def test_a_table_of_other_columns_is_to_be_mended(examine: Examine, settings: Settings) -> None:
    folder = settings.lake_root / USERS.catalog / USERS.schema / USERS.name
    write_deltalake(folder, pa.table({"user_id": ["a"]}))

    findings = examine(settings)

    assert ill(findings) == ["tables"]
    assert "user_id string instead of bigint" in findings["tables"].says


def test_an_old_java_is_to_be_replaced(
    examine: Examine, settings: Settings, java: Callable[[str], None]
) -> None:
    java('openjdk version "11.0.2" 2019-01-15')

    findings = examine(settings.model_copy(update={"deployment": "spark"}))

    assert "engine" in ill(findings)
    assert findings["engine"].says.startswith("Java 11 is installed; Apache Spark 4 needs Java 17 or newer.")


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ('openjdk version "17.0.9" 2023-10-17', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_381"', 8),
        ("no idea", None),
    ],
)
def test_the_version_of_java_is_read_as_java_says_it(
    java: Callable[[str], None], says: str, version: int | None
) -> None:
    java(says)

    assert doctor.java_version(require_java()) == version


@pytest.mark.usefixtures("java")
def test_without_java_there_is_none_to_ask() -> None:
    assert find_java() is None


def test_java_home_wins_over_the_path_even_where_it_has_no_java(
    java: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    java("17.0.15")
    assert find_java() == str(tmp_path / "bin" / "java")

    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))

    assert find_java() is None


def test_an_engine_that_does_not_start_is_a_finding_and_no_crash(settings: Settings) -> None:
    def missing() -> SparkSession:
        raise EnvironmentNotReadyError("no java")

    findings = {finding.name: finding for finding in doctor.examine(FolderLakehouse(settings, missing))}

    assert ill(findings) == ["engine"]
    assert findings["engine"].says == "no java"


@pytest.mark.parametrize(("landed", "exit_code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_there_is_something_to_mend(  # noqa: PLR0917 - fixtures
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    landed: bool,
    exit_code: int,
) -> None:
    settings = make_settings()
    if landed:
        Path(settings.landing_root).mkdir()
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["churn", "doctor"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    out, err = capsys.readouterr()
    assert (ended.value.code or 0) == exit_code
    assert ("\nmend landing zone: " in out) is not landed
    assert err == ""


def test_without_settings_alerts_are_off_and_that_is_said(examine: Examine, settings: Settings) -> None:
    finding = examine(settings)["alerts"]

    assert finding.is_well
    assert finding.says.startswith("off: set CHURN_ALERT_EMAILS and CHURN_SMTP_HOST, or CHURN_ALERT_WEBHOOK")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"alert_emails": "a@example.com"}, "CHURN_ALERT_EMAILS is set and CHURN_SMTP_HOST is not"),
        ({"smtp_host": "mail.example.com"}, "CHURN_SMTP_HOST is set and CHURN_ALERT_EMAILS is not"),
    ],
)
def test_half_of_the_settings_for_mail_is_to_be_mended(
    examine: Examine, settings: Settings, overrides: dict[str, str], says: str
) -> None:
    findings = examine(settings.model_copy(update=overrides))

    assert ill(findings) == ["alerts"]
    assert findings["alerts"].says.startswith(says)


def test_a_mail_server_is_asked_and_one_that_is_down_is_to_be_mended(
    examine: Examine, settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        alerting = settings.model_copy(
            update={
                "alert_emails": "a@example.com",
                "smtp_host": "127.0.0.1",
                "smtp_port": port,
                "alert_webhook": "https://hooks.example.com/secret",
            }
        )
        up = examine(alerting)["alerts"]
    down = examine(alerting)["alerts"]

    assert (up.is_well, up.says) == (True, f"to a@example.com by 127.0.0.1:{port} and a webhook")
    assert not down.is_well
    assert down.says.startswith(f"The mail server 127.0.0.1:{port} does not answer")
