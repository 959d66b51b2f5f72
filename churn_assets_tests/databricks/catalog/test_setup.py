"""``churn setup --databricks``: what it makes, that it says so first, and that it makes it once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from churn_assets import settings as settings_module
from churn_assets.databricks.catalog import setup
from churn_assets.databricks.catalog.catalog_check import missing
from churn_assets.databricks.catalog.warehouse import StatementFailedError, Warehouse
from churn_assets.doctor import examine
from churn_assets.errors import SettingsError, WorkspaceError
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import ASSET_TABLES, USERS
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import LostResponse, Refused
from churn_assets_tests.workspace.runtime import Engine
from churn_assets_tests.workspace.statements import WAREHOUSE_ID

KINDS = ("table", "volume", "schema", "catalog", "external location")


@pytest.fixture(scope="module")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as started:
        yield started


@pytest.fixture
def workspace(shared_workspace: Workspace) -> Iterator[Workspace]:
    """A workspace whose Unity Catalog is empty, with an engine that has started."""
    engine = shared_workspace.engine
    yield shared_workspace
    for table in engine.unity.all("table"):
        engine.execute(f"DROP TABLE {table['name']}")
    for kind in KINDS:
        for securable in engine.unity.all(kind):
            engine.unity.drop(kind, securable["name"])
    engine.statements.clear()
    shared_workspace.faults.clear()
    assert shared_workspace.violations == []


@pytest.fixture
def engine(workspace: Workspace) -> Engine:
    return workspace.engine


@pytest.fixture
def client(workspace: Workspace) -> WorkspaceClient:
    return workspace.client()


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    def make(**overrides: object) -> Settings:
        ours = {
            "_env_file": None,
            "deployment": "databricks",
            "lake_root": tmp_path / "lake",
            "landing_root": "/Volumes/raw_catalog/landing/files/events",
            "databricks_warehouse_id": WAREHOUSE_ID,
            "databricks_managed_location": "s3://bucket/churn/",
            "databricks_engineers": "data engineers",
            "databricks_analysts": "analysts, finance@example.com",
        }
        return settings_module.load(**{**ours, **overrides})

    return make


def test_what_was_set_up_lacks_nothing(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    settings = make_settings(databricks_external_location="s3://bucket/raw/ lake_role")

    setup.apply(client, settings)

    assert missing(client, settings) == []
    assert [volume.full_name for volume in client.volumes.list("raw_catalog", "landing")] == [
        "raw_catalog.landing.files"
    ]
    assert client.external_locations.get("raw_catalog_files").url == "s3://bucket/raw"
    assert client.catalogs.get("raw_catalog").storage_root == "s3://bucket/raw/managed"
    assert client.catalogs.get("main_catalog").storage_root == "s3://bucket/churn/main_catalog"
    assert len(engine.unity.all("table")) == len(ASSET_TABLES)


def test_the_dry_run_is_what_is_run_and_nothing_more(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    script = setup.render(setup.plan(settings))

    done = setup.apply(client, settings)

    assert engine.statements == [statement.sql for statement in done]
    without_comments = "\n".join(line for line in script.splitlines() if not line.startswith("-- "))
    written = [part.strip() for part in without_comments.split(";\n")]
    assert [part.removesuffix(";") for part in written if part] == engine.statements


def test_the_doctor_says_what_to_run_and_then_that_all_is_well(
    workspace: Workspace, client: WorkspaceClient, make_settings: MakeSettings
) -> None:
    settings = make_settings(
        databricks_host=workspace.url, databricks_token=workspace.token, databricks_analysts=""
    )

    before = {finding.name: finding for finding in examine(lake(client, settings))}
    setup.apply(client, settings)
    after = {finding.name: finding for finding in examine(lake(client, settings))}

    assert before["workspace"].is_well
    assert not before["Unity Catalog"].is_well
    assert before["Unity Catalog"].says.endswith("Create it: churn setup --databricks")
    assert [finding for finding in after.values() if not finding.is_well] == []


def test_a_dry_run_asks_the_workspace_nothing(workspace: Workspace, make_settings: MakeSettings) -> None:
    before = len(workspace.requests)

    setup.render(setup.plan(make_settings()))

    assert len(workspace.requests) == before


def test_setting_up_twice_changes_nothing(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    setup.apply(client, settings)
    before = {kind: engine.unity.all(kind) for kind in KINDS}
    versions = lake(client, settings).version(USERS)

    setup.apply(client, settings)

    assert {kind: engine.unity.all(kind) for kind in KINDS} == before
    assert lake(client, settings).version(USERS) == versions == 0


def test_analysts_may_read_clean_and_gold_and_nothing_else(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    setup.apply(client, make_settings())

    for analyst in ("analysts", "finance@example.com"):
        granted = {
            (kind, securable["name"]): engine.unity.grants(kind, securable["name"]).get(analyst)
            for kind in KINDS
            for securable in engine.unity.all(kind)
        }
        assert {where: what for where, what in granted.items() if what} == {
            ("catalog", "main_catalog"): ["USE CATALOG"],
            ("schema", "main_catalog.clean"): ["SELECT", "USE SCHEMA"],
            ("schema", "main_catalog.gold"): ["SELECT", "USE SCHEMA"],
        }


def test_nobody_is_granted_anything_where_the_settings_name_nobody(make_settings: MakeSettings) -> None:
    script = setup.render(setup.plan(make_settings(databricks_engineers="", databricks_analysts=" , ")))

    assert "GRANT" not in script


def test_what_is_missing_is_named_once_and_not_with_all_that_lies_in_it(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    assert missing(client, settings) == ["catalog raw_catalog is missing", "catalog main_catalog is missing"]

    setup.apply(client, settings)
    engine.execute("DROP TABLE main_catalog.gold.churn_labels")
    engine.unity.drop("volume", "main_catalog.gold.churn")

    assert missing(client, settings) == [
        "volume main_catalog.gold.churn is missing",
        "table main_catalog.gold.churn_labels is missing",
    ]


def test_what_is_different_is_named(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    setup.apply(client, settings)
    engine.execute("REVOKE SELECT ON SCHEMA main_catalog.gold FROM analysts")
    engine.execute(
        "ALTER TABLE main_catalog.clean.users SET TBLPROPERTIES ('delta.autoOptimize.autoCompact' = 'no')"
    )
    engine.execute("DROP TABLE main_catalog.gold.churn_labels")
    engine.execute("CREATE TABLE main_catalog.gold.churn_labels (user_id INT, feature_date DATE) USING delta")

    users, labels, analysts = missing(client, settings)

    assert (
        users
        == "table main_catalog.clean.users: property delta.autoOptimize.autoCompact is no instead of true"
    )
    assert "user_id int instead of bigint; label missing instead of int; partitioned by []" in labels
    assert analysts == "analysts lacks SELECT on schema main_catalog.gold"


def test_a_failing_statement_is_one_line_and_setup_can_be_run_again(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    elsewhere = make_settings(raw_catalog="elsewhere", landing_root="/Volumes/elsewhere/landing/files")

    with pytest.raises(
        WorkspaceError, match=r"^CREATE CATALOG IF NOT EXISTS elsewhere .*NOT_EMULATED"
    ) as failed:
        setup.apply(client, elsewhere)

    assert "\n" not in str(failed.value)
    assert engine.unity.all("catalog") == []
    setup.apply(client, make_settings())
    assert missing(client, make_settings()) == []


def test_a_lost_answer_and_a_busy_workspace_are_asked_again(
    workspace: Workspace, client: WorkspaceClient, make_settings: MakeSettings
) -> None:
    workspace.faults.add("POST", "/sql/statements", LostResponse())
    workspace.faults.add("POST", "/sql/statements", Refused(503, retry_after=0))

    setup.apply(client, make_settings())

    assert (workspace.faults.happened["LostResponse"], workspace.faults.happened["Refused"]) == (1, 1)
    assert missing(client, make_settings()) == []


def test_no_warehouse_and_a_wrong_one_are_one_line_each(
    client: WorkspaceClient, make_settings: MakeSettings
) -> None:
    with pytest.raises(SettingsError, match="CHURN_DATABRICKS_WAREHOUSE_ID is not set"):
        setup.apply(client, make_settings(databricks_warehouse_id=""))

    with pytest.raises(WorkspaceError, match=r"warehouse nonsense refused.*CHURN_DATABRICKS_WAREHOUSE_ID"):
        setup.apply(client, make_settings(databricks_warehouse_id="nonsense"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"databricks_volume": "/dbfs/somewhere"}, r"/dbfs/somewhere is no path in a volume"),
        ({"databricks_external_location": "my_bucket"}, "must be a URL"),
        ({"databricks_external_location": "s3://a b c"}, "must be a URL"),
        ({"databricks_managed_location": "my_bucket"}, r"MANAGED_LOCATION='my_bucket' must be a URL"),
        ({"databricks_managed_location": "s3://a role"}, "must be a URL"),
    ],
)
def test_settings_that_name_nothing_are_one_line(
    make_settings: MakeSettings, wrong: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        setup.plan(make_settings(**wrong))


def test_an_external_location_without_a_credential_must_exist_and_is_not_created(
    make_settings: MakeSettings,
) -> None:
    script = setup.render(setup.plan(make_settings(databricks_external_location="s3://bucket/raw")))

    assert "EXTERNAL LOCATION" not in script
    assert "CREATE CATALOG IF NOT EXISTS raw_catalog\nMANAGED LOCATION 's3://bucket/raw/managed'" in script


def test_without_a_place_for_tables_setup_and_doctor_say_which_setting_gives_one(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    settings = make_settings(databricks_managed_location="")

    with pytest.raises(
        WorkspaceError,
        match=r"^The catalog raw_catalog cannot be created: .*CHURN_DATABRICKS_MANAGED_LOCATION",
    ):
        setup.apply(client, settings)

    assert engine.unity.all("catalog") == []
    raw, place, main, other_place = missing(client, settings)
    assert (raw, main) == ("catalog raw_catalog is missing", "catalog main_catalog is missing")
    assert place.startswith(
        "raw_catalog needs a place, as the metastore has no storage of its own: set CHURN_"
    )
    assert other_place.startswith("main_catalog needs a place")


def test_catalogs_that_somebody_made_need_no_place_from_us(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    for catalog in ("raw_catalog", "main_catalog"):
        client.catalogs.create(catalog, storage_root="s3://theirs")
    settings = make_settings(databricks_managed_location="")

    setup.apply(client, settings)

    assert missing(client, settings) == []
    assert not [statement for statement in engine.statements if statement.startswith("CREATE CATALOG")]


def test_rows_of_a_warehouse_are_plain_values_in_all_chunks(
    client: WorkspaceClient, make_settings: MakeSettings
) -> None:
    warehouse = Warehouse(client, make_settings())

    [row] = warehouse.run(
        "SELECT 1L AS n, 0.5D AS share, true AS yes, date'2026-01-02' AS day, 'x' AS text, "
        "CAST(NULL AS INT) AS nothing, unix_micros(timestamp'2026-01-02 03:04:05') AS micros, array('a') AS l"
    )

    assert row.pop("day").isoformat() == "2026-01-02"
    assert row == {
        "n": 1,
        "share": 0.5,
        "yes": True,
        "text": "x",
        "nothing": None,
        "micros": 1767323045000000,
        "l": '["a"]',
    }
    rows = warehouse.run("SELECT id FROM range(2500) ORDER BY id")
    assert [row["id"] for row in rows] == list(range(2500))
    with pytest.raises(StatementFailedError, match=r"^SELECT 1 FROM nowhere: .*nowhere"):
        warehouse.run("SELECT 1 FROM nowhere")


def test_a_lake_without_a_session_answers_through_the_warehouse(
    client: WorkspaceClient, engine: Engine, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    setup.apply(client, settings)
    engine.execute(
        "INSERT INTO main_catalog.clean.users SELECT 1, date'2026-01-01', date'2026-01-02', 'DE', NULL"
    )
    here = lake(client, settings)

    assert here.version(USERS) == 1
    details = here.details(USERS)
    assert (details.rows, details.version, details.changed_at.tzinfo is not None) == (1, 1, True)
    here.require_contract(USERS)
    assert here.query("SELECT max(user_id) AS last FROM {users}", users=USERS) == [{"last": 1}]
    assert here.require_writable().endswith("main_catalog.ops can be used")


def lake(client: WorkspaceClient, settings: Settings) -> UnityLakehouse:
    def no_session() -> None:
        raise AssertionError("there is no session here")

    return UnityLakehouse(settings, no_session, Warehouse(client, settings).run)  # type: ignore[arg-type]  # never returns
