"""The graph as Dagster sees it: which way data flows, what each asset says of itself, what it loads."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key, by_date_key
from churn_assets.assets.bronze import LANDING_EVENTS
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.graph import build_defs
from churn_assets.lakehouse.io_manager import MONTHS
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    CONTACT_TABLES,
    DAILY_SUMMARY,
    DELIVERIES,
    EVENTS,
    FEATURE_DRIFT,
    MODEL_PROMOTIONS,
    PREDICTION_OUTCOMES,
    RETENTION_LIST,
    TABLES,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    USERS,
    Table,
)
from churn_assets_tests.conftest import MakeSettings, settings_in

# By the layers of the design: as data flows, and so from left to right. Within Gold, labels look at what
# features have counted.
GROUPS = (
    "landing",
    "bronze",
    "silver",
    "gold",
    "model",
    "predictions",
    "serving",
    "retention",
    "monitoring",
)
LAYERS = {group: place for place, group in enumerate(GROUPS)}
PARTITIONED = [
    USER_DAILY_ACTIVITY,
    DAILY_SUMMARY,
    USER_MONTHLY_ACTIVITY,
    USER_FEATURES,
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    FEATURE_DRIFT,
    RETENTION_LIST,
    PREDICTION_OUTCOMES,
]
FOLLOW_PREDICTIONS = [CHURN_REASONS, FEATURE_DRIFT, PREDICTION_OUTCOMES]
HORIZON = 17

by_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@pytest.fixture(scope="module")
def definitions(deployment: str, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    folder = tmp_path_factory.mktemp("graph")
    return build_defs(settings_in(folder, deployment=deployment, horizon_days=HORIZON))


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions):
    return definitions.resolve_asset_graph()


def assets_of(definitions: dg.Definitions) -> dict[dg.AssetKey, dg.AssetsDefinition]:
    return {key: asset for asset in definitions.resolve_asset_graph().assets_defs for key in asset.keys}


def layer(graph, key: dg.AssetKey) -> int:
    return LAYERS[graph.get(key).group_name]


def test_the_graph_is_the_landing_zone_every_table_the_model_and_what_serves_it(graph) -> None:
    tables = {asset_key(table) for table in TABLES}
    served = {CHURN_PREDICTION_MODEL, ONLINE_USER_FEATURES, CHURN_PREDICTION_ENDPOINT}

    # What Gold depends on instead of tables that are written as a whole, and for the ends of months.
    changes = {
        by_date_key(EVENTS),
        *(by_date_key(USERS, heading) for heading in USERS.headings),
        by_date_key(USER_DAILY_ACTIVITY, MONTHS),
    }
    # The list is of another branch until both are merged.
    contacts = {asset_key(table) for table in (RETENTION_LIST, *CONTACT_TABLES)}
    assert set(graph.get_all_asset_keys()) == tables | {LANDING_EVENTS} | served | changes | contacts


def test_data_flows_one_way(graph) -> None:
    backwards = [
        f"{key.to_user_string()} reads {parent.to_user_string()}"
        for key in graph.get_all_asset_keys()
        for parent in graph.get(key).parent_keys
        if layer(graph, parent) > layer(graph, key)
    ]

    assert backwards == []


def test_only_bronze_reads_the_landing_zone_and_only_silver_reads_bronze(graph) -> None:
    for source, reader in (("landing", "bronze"), ("bronze", "silver")):
        of_source = [key for key in graph.get_all_asset_keys() if layer(graph, key) == LAYERS[source]]
        readers = {child for key in of_source for child in graph.get(key).child_keys}
        assert readers
        assert {layer(graph, key) for key in readers} == {LAYERS[reader]}


def test_no_feature_depends_on_a_label(graph) -> None:
    def upstream(key: dg.AssetKey) -> Iterable[dg.AssetKey]:
        for parent in graph.get(key).parent_keys:
            yield parent
            yield from upstream(parent)

    assert asset_key(CHURN_LABELS) not in set(upstream(asset_key(USER_FEATURES)))
    assert {asset_key(USER_FEATURES), asset_key(CHURN_LABELS)} <= set(upstream(CHURN_PREDICTION_MODEL))


def test_every_asset_says_what_it_is_and_whose(graph) -> None:
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert len(node.description or "") > 20, key
        assert node.group_name in LAYERS, key
        assert node.owners == ["team:churn"], key
        assert node.kinds, key


def test_nodes_of_one_name_differ_in_group_tier_and_the_first_word_of_their_description(graph) -> None:
    named = [graph.get(key) for key in graph.get_all_asset_keys() if key.path[-1] == "events"]

    assert len(named) == 3
    assert {(node.group_name, node.tags["tier"], node.description.split(":")[0]) for node in named} == {
        ("landing", "landing", "Landing zone"),
        ("bronze", "bronze", "Bronze"),
        ("silver", "silver", "Silver"),
    }


def test_every_table_says_where_it_is_and_each_asset_whether_rows_are_of_persons(
    graph, definitions: dg.Definitions
) -> None:
    nobodys = {DAILY_SUMMARY, FEATURE_DRIFT, MODEL_PROMOTIONS, DELIVERIES, TREATMENT_OUTCOMES}
    for table in (*TABLES, RETENTION_LIST, *CONTACT_TABLES):
        node = graph.get(asset_key(table))
        tier = {"landing": "bronze", "clean": "silver", "gold": "gold"}[table.schema]
        assert node.tags["dagster/storage_kind"] == "deltalake"
        assert node.tags["tier"] == tier
        assert {"deltalake", "pyspark", tier} == node.kinds
        assert (node.tags["personal_data"] == "no") == (table in nobodys), table
        assert node.metadata["dagster/uri"].endswith(f"/{table.schema}/{table.name}")


def test_every_step_leads_to_its_code(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.executable_asset_keys:
        [reference] = graph.get(key).metadata["dagster/code_references"].code_references
        assert isinstance(reference, dg.LocalFileCodeReference)
        code = Path(reference.file_path).read_text().splitlines()[(reference.line_number or 1) - 1 :]
        assert code[0].lstrip().startswith(("@dg.asset", "@dg.multi_asset")), key


@by_table
def test_every_table_shows_its_physical_name_and_its_contract(graph, table: Table) -> None:
    metadata = graph.get(asset_key(table)).metadata
    columns = metadata["dagster/column_schema"].columns

    assert metadata["dagster/table_name"] == str(table)
    assert [(c.name, c.type, c.description, c.constraints.nullable) for c in columns] == [
        (c.name, c.type, c.comment, c.nullable) for c in table.columns
    ]
    assert [c.name for c in columns if c.constraints.unique] == list(table.key if len(table.key) == 1 else ())


@by_table
def test_every_table_has_a_pool_so_that_one_run_at_a_time_writes_it(
    definitions: dg.Definitions, table: Table
) -> None:
    asset = assets_of(definitions)[asset_key(table)]

    assert isinstance(asset.node_def, dg.OpDefinition)
    # What one step writes shares a pool, named after one of its tables.
    names = {"__".join(key.path) for key in asset.keys}
    assert asset.node_def.pool in names


def test_no_two_steps_share_a_pool(definitions: dg.Definitions) -> None:
    steps = {asset for asset in assets_of(definitions).values() if asset.is_executable}
    pools = [asset.node_def.pool for asset in steps if isinstance(asset.node_def, dg.OpDefinition)]

    # Sixteen of tables, of which events and their quarantine share one, the model's, and two of serving.
    assert None not in pools
    assert len(set(pools)) == len(pools) == 19


@pytest.mark.parametrize("table", PARTITIONED, ids=lambda table: table.name)
def test_a_range_of_dates_is_one_run(graph, table: Table) -> None:
    assert graph.get(asset_key(table)).backfill_policy == dg.BackfillPolicy.single_run()


def test_exactly_the_tables_by_date_are_partitioned(graph) -> None:
    partitioned = {key for key in graph.materializable_asset_keys if graph.get(key).partitions_def}

    assert partitioned == {asset_key(table) for table in PARTITIONED}


@pytest.mark.parametrize("table", FOLLOW_PREDICTIONS, ids=lambda table: table.name)
def test_what_follows_predictions_reads_their_date_and_no_other(
    graph, definitions: dg.Definitions, table: Table
) -> None:
    follower, predictions = graph.get(asset_key(table)), graph.get(asset_key(CHURN_PREDICTIONS))
    given = assets_of(definitions)[asset_key(table)].get_partition_mapping(predictions.key)
    mapping = given or dg.TimeWindowPartitionMapping()

    read = mapping.get_upstream_mapped_partitions_result_for_partitions(
        follower.partitions_def.subset_with_partition_keys(["2026-02-01"]),
        follower.partitions_def,
        predictions.partitions_def,
    )

    assert predictions.key in follower.parent_keys
    assert list(read.partitions_subset.get_partition_keys()) == ["2026-02-01"]


def test_only_labelled_dates_have_outcomes(graph) -> None:
    labels, outcomes = (graph.get(asset_key(table)) for table in (CHURN_LABELS, PREDICTION_OUTCOMES))

    assert outcomes.partitions_def == labels.partitions_def
    assert outcomes.partitions_def != graph.get(asset_key(CHURN_PREDICTIONS)).partitions_def


def test_a_list_is_made_of_scores_and_their_reasons_and_is_what_is_delivered(graph) -> None:
    made_of = graph.get(asset_key(RETENTION_LIST)).parent_keys

    assert {asset_key(CHURN_PREDICTIONS), asset_key(CHURN_REASONS)} <= made_of
    assert graph.get(asset_key(DELIVERIES)).parent_keys == {asset_key(RETENTION_LIST)}


def test_outcomes_of_treatments_follow_what_was_imported_listed_labelled_and_known(graph) -> None:
    read = {asset_key(table) for table in (TREATMENTS, RETENTION_LIST, CHURN_LABELS, USER_FEATURES)}

    assert graph.get(asset_key(TREATMENT_OUTCOMES)).parent_keys == read
    # Filled from outside, as the landing zone is.
    assert not graph.get(asset_key(TREATMENTS)).is_executable


def test_who_is_champion_follows_the_model_alone(graph) -> None:
    assert graph.get(asset_key(MODEL_PROMOTIONS)).parent_keys == {CHURN_PREDICTION_MODEL}


@pytest.mark.parametrize(
    ("table", "upstream", "offsets"),
    [
        (USER_FEATURES, asset_key(USER_DAILY_ACTIVITY), (-59, 0)),
        (CHURN_LABELS, by_date_key(EVENTS), (1, HORIZON)),
    ],
    ids=["features look back 30 days and their first month", "labels look ahead one horizon"],
)
def test_windows_are_the_partition_mappings(
    definitions: dg.Definitions, table: Table, upstream: dg.AssetKey, offsets: tuple[int, int]
) -> None:
    mapping = assets_of(definitions)[asset_key(table)].get_partition_mapping(upstream)

    assert isinstance(mapping, dg.TimeWindowPartitionMapping)
    assert (mapping.start_offset, mapping.end_offset) == offsets


@pytest.mark.parametrize(
    "table",
    [CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST],
    ids=lambda table: table.name,
)
def test_to_dagster_history_reads_all_dates_of_features_and_so_none_whose_changes_count(
    definitions: dg.Definitions, table: Table
) -> None:
    # Of Dagster's own, as the webserver has no others.
    mapping = assets_of(definitions)[asset_key(table)].get_partition_mapping(asset_key(USER_FEATURES))

    assert type(mapping) is dg.AllPartitionMapping


def test_a_label_of_a_date_reads_the_days_of_its_horizon(graph, definitions: dg.Definitions) -> None:
    labels, events = graph.get(asset_key(CHURN_LABELS)), graph.get(by_date_key(EVENTS))
    mapping = assets_of(definitions)[asset_key(CHURN_LABELS)].get_partition_mapping(events.key)
    assert mapping is not None

    read = mapping.get_upstream_mapped_partitions_result_for_partitions(
        labels.partitions_def.subset_with_partition_keys(["2026-02-01"]),
        labels.partitions_def,
        events.partitions_def,
    )

    days = sorted(read.partitions_subset.get_partition_keys())
    assert (days[0], days[-1], len(days)) == ("2026-02-02", "2026-02-18", HORIZON)


def test_catalog_names_are_settings_and_keys_are_not(make_settings: MakeSettings) -> None:
    renamed = build_defs(make_settings(raw_catalog="landing_prod", main_catalog="churn_prod"))
    graph = renamed.resolve_asset_graph()

    names = {asset_key(table): graph.get(asset_key(table)).metadata["dagster/table_name"] for table in TABLES}

    assert names == {
        asset_key(table): str(table)
        .replace("raw_catalog", "landing_prod")
        .replace("main_catalog", "churn_prod")
        for table in TABLES
    }
    usual = build_defs(make_settings()).resolve_asset_graph().get_all_asset_keys()
    assert set(graph.get_all_asset_keys()) == set(usual)


def test_each_job_and_step_has_a_name_of_its_own_so_that_dg_loads_them(definitions: dg.Definitions) -> None:
    # Dagster compares the names only where all jobs are asked for, as `dg check defs` does.
    jobs = {job.name for job in definitions.get_repository_def().get_all_jobs()}

    assert {"maintenance", "ingest_files"} <= jobs


def test_loading_the_definitions_starts_no_engine_and_needs_no_secret(tmp_path: Path) -> None:
    look = (
        "import sys, churn_assets.definitions, churn_assets.lakehouse.engines as engines\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & set(sys.argv[1:])))\n"
        "print(len(engines._SERVERS), [p.name for p in __import__('pathlib').Path.cwd().iterdir()])\n"
    )
    heavy = ["mlflow", "sklearn", "databricks", "pysail", "dagster_mlflow"]

    found = subprocess.run(
        # No environment at all: no secret, no setting, no DAGSTER_HOME.
        [sys.executable, "-c", look, *heavy],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.splitlines() == ["[]", "0 []"]
    assert found.stderr == ""


def test_a_code_location_of_its_own_loads_everything_at_once(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()

    repository.load_all_definitions()

    assert repository.has_job("maintenance")
