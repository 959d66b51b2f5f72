"""The bill of an emulated account: corrections, prices, other workspaces, and who may not read it."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from churn_assets.automation.history.instance import dagster_instance
from churn_assets.cli import app
from churn_assets.commands.days import today
from churn_assets.databricks import billing
from churn_assets.databricks.billing import Ours, Usage
from churn_assets.databricks.client import workspace_client
from churn_assets.dates import ONE_DAY
from churn_assets.errors import WorkspaceError
from churn_assets.settings import Settings
from churn_assets_tests.conftest import settings_in
from churn_assets_tests.workspace.auth import USER
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.statements import WAREHOUSE_ID

ENDPOINT = "churn-prediction-endpoint"
JOBS, ALL_PURPOSE = "PREMIUM_JOBS_COMPUTE", "PREMIUM_ALL_PURPOSE_COMPUTE"
SERVERLESS = "PREMIUM_JOBS_SERVERLESS_COMPUTE"
KNOWN = Ours(ENDPOINT, "churn-prediction-pipeline", ("71", "73", "74"))
SERVING = "PREMIUM_SERVERLESS_REAL_TIME_INFERENCE"
OURS = {"project": "churn-assets"}
# Yesterday's, as the bill is always late.
SIX = dt.datetime.combine(today() - ONE_DAY, dt.time(6), dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """An account whose bill is enabled, and granted to a group of which nobody is a member yet."""
    with Workspace(tmp_path_factory.mktemp("workspace")) as started:
        bill = started.billing
        bill.enable()
        started.engine.unity.grant("schema", "system.billing", "finance", {"USE SCHEMA", "SELECT"})
        bill.price(JOBS, "0.10", SIX - 30 * ONE_DAY, SIX + 1.5 * HOUR)
        bill.price(JOBS, "0.20", SIX + 1.5 * HOUR)
        bill.price(ALL_PURPOSE, "0.50", SIX - 30 * ONE_DAY)
        # A step's own cluster, by its run; the second hour has another price.
        of_step = {"job_id": "7", "job_run_id": "71", "cluster_id": "c-step"}
        bill.use(SIX, JOBS, "2", tags=OURS, **of_step)
        bill.use(SIX + HOUR, JOBS, "1", tags=OURS, **of_step)
        # Billed wrongly, taken back, and said again.
        bill.use(SIX, ALL_PURPOSE, "9", tags=OURS, cluster_id="c-run")
        bill.use(SIX, ALL_PURPOSE, "-9", tags=OURS, cluster_id="c-run", record_type="RETRACTION")
        bill.use(SIX, ALL_PURPOSE, "3", tags=OURS, cluster_id="c-run", record_type="RESTATEMENT")
        # Taken back for good.
        bill.use(SIX, JOBS, "5", tags=OURS, job_run_id="72")
        bill.use(SIX, JOBS, "-5", tags=OURS, job_run_id="72", record_type="RETRACTION")
        # Serverless, with the tags of a policy or none: no cluster, and a SKU without a price.
        bill.use(SIX, SERVERLESS, "0.5", tags={"team": "x"}, budget_policy_id="p-1", job_run_id="74")
        bill.use(SIX, SERVERLESS, "0.75", job_run_id="80", job_name="churn-prediction-pipeline")
        bill.use(SIX, SERVING, "0.25", endpoint_name=ENDPOINT)
        bill.use(SIX, "PREMIUM_SQL_PRO_COMPUTE", "4", warehouse_id=WAREHOUSE_ID)
        # Not ours: another project, another workspace, and before the days that are asked for.
        bill.use(SIX, JOBS, "100", tags={"project": "other"}, job_run_id="8")
        bill.use(SIX, SERVERLESS, "100", job_run_id="81", job_name="another")
        bill.use(SIX, JOBS, "100", tags=OURS, workspace_id="99", job_run_id="9")
        bill.use(SIX - 20 * ONE_DAY, JOBS, "100", tags=OURS, job_run_id="10")
        yield started
    assert started.violations == []


@pytest.fixture
def settings(workspace: Workspace, tmp_path: Path) -> Settings:
    return settings_in(
        tmp_path,
        deployment="databricks",
        databricks_host=workspace.url,
        databricks_token=workspace.token,
        databricks_warehouse_id=WAREHOUSE_ID,
        databricks_engineers="finance",
    )


@pytest.fixture
def reader(workspace: Workspace) -> Iterator[None]:
    workspace.auth.groups[USER] = {"finance"}
    yield
    workspace.auth.groups.clear()


@pytest.mark.usefixtures("reader")
def test_the_bill_is_net_of_corrections_at_the_price_of_each_hour_and_of_this_deployment_alone(
    settings: Settings,
) -> None:
    bill = billing.usage(workspace_client(settings), settings, SIX.date() - 6 * ONE_DAY, KNOWN)

    nothing = dict.fromkeys(name for name in billing.SOURCES if name != "sku")
    assert sorted(bill, key=lambda used: (used.dbu, used.sku)) == [
        Usage(**nothing | {"endpoint": ENDPOINT}, sku=SERVING, dbu=0.25, cost=None, until=SIX + HOUR),
        Usage(**nothing | {"job_run_id": "74"}, sku=SERVERLESS, dbu=0.5, cost=None, until=SIX + HOUR),
        Usage(**nothing | {"job_run_id": "80"}, sku=SERVERLESS, dbu=0.75, cost=None, until=SIX + HOUR),
        Usage(**nothing | {"cluster_id": "c-run"}, sku=ALL_PURPOSE, dbu=3.0, cost=1.5, until=SIX + HOUR),
        Usage(
            **nothing | {"job_run_id": "71", "cluster_id": "c-step"},
            sku=JOBS,
            dbu=3.0,
            cost=0.4,
            until=SIX + 2 * HOUR,
        ),
        Usage(
            **nothing | {"warehouse_id": WAREHOUSE_ID},
            sku="PREMIUM_SQL_PRO_COMPUTE",
            dbu=4.0,
            cost=None,
            until=SIX + HOUR,
        ),
    ]


def test_a_bill_that_is_not_granted_is_one_line_and_so_is_one_that_is_not_enabled(
    workspace: Workspace, settings: Settings
) -> None:
    client = workspace_client(settings)

    with pytest.raises(WorkspaceError) as not_granted:
        billing.usage(client, settings, SIX.date(), KNOWN)
    workspace.engine.unity.drop("schema", "system.billing")
    try:
        with pytest.raises(WorkspaceError) as not_enabled:
            billing.usage(client, settings, SIX.date(), KNOWN)
    finally:
        workspace.billing.enable()
        workspace.engine.unity.grant("schema", "system.billing", "finance", {"USE SCHEMA", "SELECT"})

    says = (
        "An account admin enables it and grants USE CATALOG on system, USE SCHEMA and SELECT on system.bill"
    )
    for error, reason in ((not_granted, "does not have USE SCHEMA"), (not_enabled, "[SCHEMA_NOT_FOUND]")):
        assert str(error.value).startswith("The bill, system.billing, cannot be read: [")
        assert reason in str(error.value)
        assert says in str(error.value)
        assert "\n" not in str(error.value)


def test_setup_grants_the_bill_if_it_may_and_else_says_who_may(
    workspace: Workspace, settings: Settings
) -> None:
    client = workspace_client(settings)

    note = billing.grant(client, settings)

    assert note.startswith("finance cannot be given system, which only churn costs reads: GRANT USE CATALOG")
    workspace.billing.account_admins = {USER}
    try:
        assert billing.grant(client, settings) == ""
    finally:
        workspace.billing.account_admins = set()
    assert workspace.engine.unity.grants("catalog", "system") == {"finance": ["USE CATALOG"]}


def test_setup_prints_who_grants_the_bill_and_makes_all_that_it_may(
    workspace: Workspace, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**settings.as_env(), "DATABRICKS_TOKEN": settings.databricks_token or ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHURN_DATABRICKS_MANAGED_LOCATION", "s3://bucket/churn")

    printed = CliRunner().invoke(app, ["setup", "--databricks", "--dry-run"])
    done = CliRunner().invoke(app, ["setup", "--databricks", "--monitoring"])

    assert printed.stdout.splitlines()[-2:] == [
        "-- for churn costs, by an account admin who is metastore admin too",
        "GRANT USE SCHEMA, SELECT ON SCHEMA system.billing TO `finance`;",
    ]
    assert done.exit_code == 0, done.output
    notes = done.stdout.splitlines()
    assert notes[0].startswith("finance cannot be given system, which only churn costs reads: ")
    assert notes[1:-1] == [
        "churn-prediction-endpoint is not there yet: it gets its inference table when it is deployed."
    ]
    assert set(workspace.monitors.monitors) == {
        "main_catalog.gold.churn_predictions",
        "main_catalog.gold.user_features",
    }


@pytest.mark.usefixtures("reader")
def test_costs_puts_the_bill_beside_the_estimates_by_asset_and_by_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**settings.as_env(), "DATABRICKS_TOKEN": settings.databricks_token or ""}.items():
        monkeypatch.setenv(name, value)
    steps = {"a": (71, "c-step", 10.0, 2.5), "b": (73, "c-run", 30.0, 2.0), "c": (74, "", 5.0, None)}
    run_id = run_on_databricks(settings, steps)

    shown = CliRunner().invoke(app, ["costs", "--days", "7"])

    assert shown.exit_code == 0, shown.output
    lines = {line.split()[0]: line.split()[1:] for line in shown.stdout.splitlines() if line.strip()}
    assert lines["a"] == ["3.00", "0.40", "2.50"]
    assert lines["b"] == ["3.00", "1.50", "2.00"]
    assert lines["c"] == ["0.50", "0.00"]
    assert lines["churn_prediction_endpoint"] == ["0.25", "0.00"]
    assert lines[run_id] == ["6.50", "1.90", "4.50"]
    assert (
        "Billed in 7 days: 11.50 DBU, 1.90 USD at list price; estimates: 4.50 DBU. 4.75 DBU (41%) could not "
        "be attributed to an asset."
    ) in shown.stdout
    assert f"The bill goes to {SIX + 2 * HOUR:%Y-%m-%d %H:%M} UTC" in shown.stdout
    assert f"SQL warehouse {WAREHOUSE_ID}, whoever used it" in shown.stdout
    assert "job run 80: no step of this Dagster history (a night of churn workflow?)" in shown.stdout


def run_on_databricks(settings: Settings, steps: dict[str, tuple[int, str, float, float | None]]) -> str:
    """A Dagster run whose materialisations say what the launcher says: run, cluster, seconds and estimate."""

    def made(name: str, told: tuple[int, str, float, float | None]) -> dg.AssetsDefinition:
        @dg.asset(name=name)
        def one(context: dg.AssetExecutionContext) -> None:
            for key, value in zip(
                ("run_id", "cluster", "execution_seconds", "dbu_estimate"), told, strict=True
            ):
                if value is not None:
                    context.add_output_metadata({key: value})

        return one

    assets = [made(name, told) for name, told in steps.items()]
    job = dg.Definitions(assets=assets).resolve_implicit_global_asset_job_def()
    with dagster_instance(settings) as instance:
        return job.execute_in_process(instance=instance).run_id


def test_elsewhere_there_is_no_bill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_LAKE_ROOT", str(tmp_path / "lake"))

    shown = CliRunner().invoke(app, ["costs"])

    assert shown.exit_code == 0
    assert shown.stdout == "CHURN_DEPLOYMENT=local has no bill: it computes on this machine.\n"
    assert list(tmp_path.iterdir()) == []
