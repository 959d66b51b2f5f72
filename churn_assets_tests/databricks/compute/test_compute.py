"""From settings to clusters and cost."""

from typing import Any

import pytest

from churn_assets import settings as settings_module
from churn_assets.databricks.compute.compute import cluster_spec, require_compute
from churn_assets.databricks.compute.cost import dbu_estimate
from churn_assets.errors import SettingsError
from churn_assets.settings import Settings


def settings(**overrides: Any) -> Settings:
    return settings_module.load(_env_file=None, deployment="databricks", **overrides)


def test_the_articles_machines_are_the_default_on_a_current_runtime() -> None:
    spec = cluster_spec(settings())
    assert (spec["node_type_id"], spec["num_workers"]) == ("i3.xlarge", 4)
    assert spec["spark_version"] == "17.3.x-scala2.13"
    assert spec["data_security_mode"] == "SINGLE_USER"


def test_a_pool_decides_on_the_node_type() -> None:
    spec = cluster_spec(settings(databricks_compute="pool", databricks_pool_id="pool-1"))
    assert spec["instance_pool_id"] == "pool-1"
    assert "node_type_id" not in spec


def test_no_workers_is_a_single_node() -> None:
    spec = cluster_spec(settings(databricks_workers=0))
    assert spec["spark_conf"]["spark.databricks.cluster.profile"] == "singleNode"
    assert spec["custom_tags"]["ResourceClass"] == "SingleNode"


def test_more_workers_at_most_make_a_cluster_that_grows() -> None:
    growing = cluster_spec(settings(databricks_workers=2, databricks_max_workers=8))
    from_none = cluster_spec(settings(databricks_workers=0, databricks_max_workers=4))
    assert growing["autoscale"] == {"min_workers": 2, "max_workers": 8}
    assert from_none["autoscale"] == {"min_workers": 1, "max_workers": 4}
    assert not {"num_workers", "spark_conf"} & {*growing, *from_none}


def test_policy_access_mode_and_tags_are_the_settings() -> None:
    spec = cluster_spec(
        settings(databricks_policy_id="p", databricks_access_mode="standard", databricks_tags="team=growth")
    )
    assert (spec["policy_id"], spec["data_security_mode"]) == ("p", "USER_ISOLATION")
    assert spec["custom_tags"] == {"team": "growth", "project": "churn-assets"}


@pytest.mark.parametrize(
    ("host", "attributes", "availability"),
    [
        ("https://dbc-1.cloud.databricks.com", "aws_attributes", "SPOT_WITH_FALLBACK"),
        ("adb-1.2.azuredatabricks.net", "azure_attributes", "SPOT_WITH_FALLBACK_AZURE"),
        ("https://1.2.gcp.databricks.com/", "gcp_attributes", "PREEMPTIBLE_WITH_FALLBACK_GCP"),
    ],
)
def test_spot_machines_are_asked_for_in_the_words_of_the_cloud(
    host: str, attributes: str, availability: str
) -> None:
    spec = cluster_spec(settings(databricks_host=host, databricks_spot=True))
    assert spec[attributes]["availability"] == availability
    assert "availability" not in str(cluster_spec(settings(databricks_host=host)))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"databricks_compute": "pool", "databricks_pool_id": "p"}, "a pool says itself"),
        ({"databricks_host": None}, "needs DATABRICKS_HOST, whose name tells the cloud"),
    ],
)
def test_spot_machines_that_nobody_can_ask_for_say_why(overrides: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        cluster_spec(settings(databricks_spot=True, **overrides))


def test_secrets_are_named_to_the_cluster_and_never_read() -> None:
    ours = settings(databricks_secret_scope="my-scope", databricks_token="dapi-very-secret")
    spec = cluster_spec(ours, frozenset({"endpoint-token", "databricks-token", "somebody-elses"}))
    assert spec["spark_env_vars"] == {"CHURN_ENDPOINT_TOKEN": "{{secrets/my-scope/endpoint-token}}"}


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"databricks_compute": "existing"}, "CHURN_DATABRICKS_CLUSTER_ID"),
        ({"databricks_compute": "pool"}, "CHURN_DATABRICKS_POOL_ID"),
        ({"databricks_spark_version": "15.4.x-scala2.12"}, r"no DataFrame.toArrow\. Use 17.3 LTS or newer"),
        ({"databricks_spark_version": "16.4.x-scala2.13"}, r"no DataFrame.toArrow\. Use 17.3 LTS or newer"),
        ({"databricks_spark_version": "latest"}, "no runtime"),
    ],
)
def test_settings_that_name_no_usable_cluster_say_what_to_set(overrides: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        require_compute(settings(**{"databricks_compute": "step", **overrides}))


@pytest.mark.parametrize("version", ["17.3.x-scala2.13", "17.3.x-photon-scala2.13", "18.0.x-scala2.13"])
def test_runtimes_from_17_3_on_are_taken(version: str) -> None:
    require_compute(settings(databricks_spark_version=version))


def test_an_hour_of_a_driver_and_four_workers_at_one_dbu_is_five() -> None:
    assert dbu_estimate(3600, "i3.xlarge", 4, {}) == pytest.approx(5.0)


def test_a_given_rate_wins_and_an_unknown_one_gives_no_estimate() -> None:
    assert dbu_estimate(1800, "i3.xlarge", 0, {"i3.xlarge": 3.0}) == pytest.approx(1.5)
    assert dbu_estimate(1800, "m9.future", 0, {}) is None
    assert dbu_estimate(1800, "m9.future", 1, {"m9.future": 2.0}) == pytest.approx(2.0)
