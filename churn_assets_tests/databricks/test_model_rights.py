"""Who may do what with the model in Unity Catalog: two principals, and the group that both are in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from churn_assets.databricks.catalog import setup
from churn_assets.databricks.catalog.catalog_check import missing
from churn_assets.databricks.client import workspace_client
from churn_assets.errors import WorkspaceError
from churn_assets.model.registry import promotions, registry
from churn_assets.settings import Settings
from churn_assets_tests.conftest import settings_in
from churn_assets_tests.workspace.auth import USER
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.statements import WAREHOUSE_ID

API = "/api/2.0/mlflow/unity-catalog"
GROUP = "churn owners"
Make = Callable[..., Settings]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path / "workspace") as started:
        started.auth.groups = {USER: {GROUP}, started.auth.client_id: {GROUP}}
        yield started
    assert started.violations == []


@pytest.fixture
def admins(workspace: Workspace, tmp_path: Path) -> Make:
    """Settings of the one who sets up."""

    def make(**ours: object) -> Settings:
        fields = {
            "deployment": "databricks",
            "landing_root": "/Volumes/raw_catalog/landing/files",
            "mlflow_tracking_uri": "databricks",
            "databricks_host": workspace.url,
            "databricks_token": workspace.token,
            # What the other principal's client has told MLflow.
            "databricks_auth_type": "",
            "databricks_client_id": None,
            "databricks_client_secret": None,
            "databricks_warehouse_id": WAREHOUSE_ID,
            "databricks_managed_location": "s3://bucket/churn",
            "databricks_engineers": GROUP,
            "databricks_owner": GROUP,
        }
        return settings_in(tmp_path, **{**fields, **ours})

    return make


@pytest.fixture
def jobs(workspace: Workspace, admins: Make) -> Make:
    """Settings of the service principal that the job runs as."""
    ours = {
        "client_id": workspace.auth.client_id,
        "client_secret": workspace.auth.client_secret,
        "token": None,
    }
    return lambda **more: admins(**{f"databricks_{name}": value for name, value in ours.items()}, **more)


def new_version(settings: Settings) -> str:
    """A version with nothing behind it, as this principal registers one."""
    client, name = workspace_client(settings), registry.registered_model_name(settings)
    answer = client.api_client.do("POST", f"{API}/model-versions/create", body={"name": name, "source": "x"})
    assert isinstance(answer, dict)
    return answer["model_version"]["version"]


def test_a_second_principal_of_the_owning_group_registers_tags_and_promotes(
    workspace: Workspace, admins: Make, jobs: Make
) -> None:
    setup.apply(workspace_client(admins()), admins())
    first = new_version(admins())
    promotions.promote(admins(), first, cause="gate", reason="first", replaces=None)

    second = new_version(jobs())
    promotions.promote(jobs(), second, cause="gate", reason="better", replaces=first)

    assert registry.production_number(admins()) == second
    assert missing(workspace_client(jobs()), jobs()) == []


def test_the_doctor_says_who_owns_the_model_where_nobody_else_can_move_its_alias(
    workspace: Workspace, admins: Make, jobs: Make
) -> None:
    model = "main_catalog.gold.churn-prediction-model"
    setup.apply(workspace_client(admins()), admins(databricks_owner=""))
    client = workspace_client(admins())
    client.registered_models.create("main_catalog", "gold", "churn-prediction-model")

    [of_job] = missing(workspace_client(jobs()), jobs(databricks_owner=""))
    [of_group] = missing(client, admins())

    assert of_job == (
        f"model {model} is owned by {USER}, who alone moves its alias Production: this user is in no such "
        "group. Set CHURN_DATABRICKS_OWNER to a group of both"
    )
    assert of_group == f"model {model} is owned by {USER} instead of {GROUP}"
    setup.apply(client, admins())
    assert missing(workspace_client(jobs()), jobs()) == []


def test_a_refused_alias_is_one_line_with_the_model_and_the_setting_and_leaves_no_trace(
    admins: Make, jobs: Make
) -> None:
    nobody = {"databricks_owner": ""}
    setup.apply(workspace_client(admins()), admins(**nobody))
    workspace_client(admins()).registered_models.create("main_catalog", "gold", "churn-prediction-model")
    first, second = new_version(admins()), new_version(admins())
    for version, replaces in ((first, None), (second, first), (first, second)):
        promotions.promote(admins(), version, cause="gate", reason=f"{version} won.", replaces=replaces)
    before = promotions.new_rows(admins(), [])

    with pytest.raises(WorkspaceError) as refused:
        promotions.promote(jobs(**nobody), second, cause="gate", reason="x", replaces=first)

    assert str(refused.value) == (
        "The alias Production of main_catalog.gold.churn-prediction-model was not moved to version 2: "
        "PERMISSION_DENIED: User is not an owner of Routine or Model "
        "'main_catalog.gold.churn-prediction-model'. Only an owner of the model moves it: name a group of "
        "all who train as CHURN_DATABRICKS_OWNER, and run, as who owns it now, churn setup --databricks"
    )
    assert promotions.new_rows(admins(), []) == before


def test_who_may_not_tag_or_register_is_told_of_the_grant(admins: Make, jobs: Make) -> None:
    setup.apply(workspace_client(admins()), admins(databricks_owner="", databricks_engineers=""))
    workspace_client(admins()).registered_models.create("main_catalog", "gold", "churn-prediction-model")
    version = new_version(admins())

    with pytest.raises(
        WorkspaceError, match=r"^Version 1 of main_catalog.* was not tagged: .*APPLY TAG"
    ) as no:
        registry.tag_version(jobs(), version, {"a": "b"})

    assert "CHURN_DATABRICKS_ENGINEERS" in str(no.value)


def test_a_version_that_wins_and_wins_again_stays_below_the_services_50_tags(admins: Make) -> None:
    settings = admins()
    setup.apply(workspace_client(settings), settings)
    first, second = new_version(settings), new_version(settings)
    registry.tag_version(settings, first, {f"fact_{number}": "x" for number in range(30)})
    current = None
    for number in range(24):
        version = (first, second)[number % 2]
        promotions.promote(settings, version, cause="rollback", reason=f"{number}", replaces=current)
        current = version

    moves = [row["reason"] for row in promotions.new_rows(settings, [])]
    assert moves[-4:] == ["20", "21", "22", "23"]
    assert len(moves) == len(set(moves)) >= 12
