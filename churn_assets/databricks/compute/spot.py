"""Spot machines for workers, in the words of each cloud. The driver stays on demand: a run dies with it."""

from typing import Any

from churn_assets.errors import SettingsError
from churn_assets.settings import Settings

# Each falls back to machines on demand, as a night without scores costs more than what is saved.
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "AWS": {"aws_attributes": {"availability": "SPOT_WITH_FALLBACK", "first_on_demand": 1}},
    # -1: up to the price on demand, so that no bid evicts.
    "AZURE": {
        "azure_attributes": {
            "availability": "SPOT_WITH_FALLBACK_AZURE",
            "first_on_demand": 1,
            "spot_bid_max_price": -1,
        }
    },
    "GCP": {"gcp_attributes": {"availability": "PREEMPTIBLE_WITH_FALLBACK_GCP"}},
}


def spot_attributes(settings: Settings) -> dict[str, Any]:
    """Return what a cluster of spot machines says; nothing without ``CHURN_DATABRICKS_SPOT``.

    Raises:
        SettingsError: the machines are a pool's, or the workspace's cloud is not known.
    """
    if not settings.databricks_spot:
        return {}
    if settings.databricks_compute == "pool":
        raise SettingsError(
            "CHURN_DATABRICKS_SPOT=True does not go with CHURN_DATABRICKS_COMPUTE=pool: a pool says itself "
            "whether its machines are spot. Set it there, and unset this."
        )
    if not settings.databricks_host:
        raise SettingsError(
            "CHURN_DATABRICKS_SPOT=True needs DATABRICKS_HOST, whose name tells the cloud. Set it."
        )
    from databricks.sdk.environments import get_environment_for_hostname

    host = settings.databricks_host.removeprefix("https://").rstrip("/")
    return ATTRIBUTES[get_environment_for_hostname(host).cloud.value]
