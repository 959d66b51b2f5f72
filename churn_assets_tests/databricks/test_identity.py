"""Who the platform is to a workspace: ``.env`` alone reaches every client, and one way in is used."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.config import Config

from churn_assets.databricks.client import workspace_client
from churn_assets.errors import SettingsError
from churn_assets.identity import VARIABLES, _say_once, identity, share
from churn_assets_tests.conftest import MakeSettings, settings_in
from churn_assets_tests.end_to_end.command import CHURN
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.fixtures import remote_python
from churn_assets_tests.workspace.statements import WAREHOUSE_ID

__all__ = ["remote_python"]

Command = Callable[..., "subprocess.CompletedProcess[str]"]

SECRET = "DATABRICKS_CLIENT_SECRET"
DEPLOYMENT = f"""
CHURN_DEPLOYMENT=databricks
CHURN_LANDING_ROOT=/Volumes/raw_catalog/landing/files
CHURN_DATABRICKS_WAREHOUSE_ID={WAREHOUSE_ID}
CHURN_DATABRICKS_MANAGED_LOCATION=s3://bucket/churn
CHURN_DATABRICKS_POLL_SECONDS=0.1
CHURN_START_DATE=2026-01-01
CHURN_END_DATE=2026-01-10
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, remote_python: Path) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("workspace")
    with Workspace(folder, python=remote_python, with_spark=True) as started:
        yield started
    assert started.violations == []


@pytest.fixture
def churn(tmp_path: Path) -> Command:
    """Run a command where only ``.env`` and a home without anything say who it is."""

    def run(command: str, env_file: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        (tmp_path / ".env").write_text(DEPLOYMENT + env_file)
        return subprocess.run(
            [CHURN, *command.split()],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "1000", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Settings that name nobody, for a deployment that is nowhere yet."""
    return lambda **ours: settings_in(tmp_path, deployment="databricks", **ours)


def test_env_alone_is_enough_for_the_sdk_the_warehouse_and_mlflow(
    workspace: Workspace, churn: Command
) -> None:
    who = f"DATABRICKS_HOST={workspace.url}\nDATABRICKS_TOKEN={workspace.token}\n"

    done = {
        command: churn(command, who)
        for command in ("setup --databricks --dry-run", "setup --databricks", "doctor", "status")
    }

    assert {command: result.returncode for command, result in done.items()} == dict.fromkeys(done, 0), {
        command: result.stdout + result.stderr for command, result in done.items()
    }
    assert workspace.calls("GET", "/registered-models/alias")
    assert "knows DATABRICKS_TOKEN as engineer@example.com" in done["doctor"].stdout
    # Its first step has a cluster, and finds the landing zone there, with nothing in it.
    nothing = churn(command="run", env_file=f"{who}CHURN_DATABRICKS_SPARK_VERSION=17.3.x-scala2.13\n")
    assert nothing.returncode == 1
    assert "/Volumes/raw_catalog/landing/files holds no event files" in nothing.stdout + nothing.stderr
    assert "Credential" not in nothing.stdout + nothing.stderr


def test_without_anybody_the_dry_run_works_and_every_other_command_says_so_in_one_line(
    churn: Command,
) -> None:
    assert churn("setup --databricks --dry-run", "").returncode == 0
    for command in ("setup --databricks", "status", "run", "costs"):
        said = churn(command, "")

        assert (said.returncode, said.stdout) == (1, "")
        (line,) = said.stderr.splitlines()
        assert line.startswith(
            "churn: CHURN_DEPLOYMENT=databricks needs DATABRICKS_HOST and DATABRICKS_TOKEN, or"
        )
        assert line.endswith("Set it in the environment or in .env.")


@pytest.mark.parametrize("beside", ["", "DATABRICKS_TOKEN=dapi-of-nobody\n"], ids=["alone", "beside a token"])
def test_a_service_principal_is_used_alone(workspace: Workspace, churn: Command, beside: str) -> None:
    ours = f"DATABRICKS_CLIENT_ID={workspace.auth.client_id}\n{SECRET}={workspace.auth.client_secret}\n"
    who = f"DATABRICKS_HOST={workspace.url}\n{ours}{beside}"

    doctor, status = churn("doctor", who), churn("status", who)

    unused = ", not DATABRICKS_TOKEN" if beside else ""
    assert f"knows the service principal{unused} as {workspace.auth.client_id}" in doctor.stdout
    assert status.returncode == 0, status.stderr


def test_a_ci_that_is_trusted_needs_no_secret(workspace: Workspace, churn: Command) -> None:
    who = f"DATABRICKS_HOST={workspace.url}\nDATABRICKS_CLIENT_ID={workspace.auth.client_id}\n"

    doctor = churn("doctor", who, DATABRICKS_OIDC_TOKEN=workspace.auth.federated_token)
    status = churn("status", who, DATABRICKS_OIDC_TOKEN=workspace.auth.federated_token)

    assert f"knows what the SDK found (env-oidc) as {workspace.auth.client_id}" in doctor.stdout
    assert status.returncode == 0, status.stderr


def test_a_profile_of_the_command_line_tool_names_host_and_token(
    workspace: Workspace, churn: Command, tmp_path: Path
) -> None:
    profile = f"[ours]\nhost = {workspace.url}\ntoken = {workspace.token}\n"
    (tmp_path / ".databrickscfg").write_text(profile)

    doctor, status = (churn(command, "DATABRICKS_CONFIG_PROFILE=ours\n") for command in ("doctor", "status"))

    assert f"{workspace.url} knows the profile ours (pat) as engineer@example.com" in doctor.stdout
    assert status.returncode == 0, status.stderr


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "needs DATABRICKS_HOST and DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SEC"),
        ({"host": "http://127.0.0.1:9"}, "needs DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CL"),
        ({"token": "dapi"}, "needs DATABRICKS_HOST. Set it in the environment or in .env."),
        ({"client_secret": "dose"}, "needs DATABRICKS_CLIENT_ID. Set it in the environment or in .env."),
        ({"config_profile": "theirs"}, "DATABRICKS_CONFIG_PROFILE=theirs is no profile of ~/.databrickscfg"),
    ],
)
def test_half_a_way_in_is_one_line_that_says_what_is_missing(
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fields: dict[str, str],
    says: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = make_settings(**{f"databricks_{name}": value for name, value in fields.items()})

    with pytest.raises(SettingsError) as error:
        workspace_client(settings)

    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_used_is_said_in_the_log(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    # Once a process, and another test may have been first.
    _say_once.cache_clear()

    share(
        make_settings(
            databricks_host="https://x",
            databricks_token="dapi",
            databricks_client_id="me",
            databricks_client_secret="dose",
        )
    )

    assert caplog.messages == ["DATABRICKS_TOKEN not used beside the service principal."]


def test_a_cluster_is_its_own_user_whatever_is_set(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    settings = make_settings(
        databricks_host="https://x",
        databricks_token="dapi",
        databricks_client_id="me",
    )

    share(settings)

    assert {name: value for name, value in os.environ.items() if name in VARIABLES.values()} == {
        "DATABRICKS_AUTH_TYPE": "runtime"
    }


def test_the_way_that_is_named_goes_before_all_others(make_settings: MakeSettings) -> None:
    both = {"databricks_host": "https://x", "databricks_token": "dapi", "databricks_client_id": "me"}

    chosen = identity(make_settings(**both, databricks_client_secret="dose", databricks_auth_type="pat"))

    arguments: dict[str, Any] = dict(chosen.arguments)
    assert Config(**arguments).auth_type == "pat"
