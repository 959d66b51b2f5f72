"""Estimates of a step's cost in DBU: hours x nodes x the node type's rate.

The bill is ``system.billing.usage``, some hours later: ``churn costs`` puts it beside these. Nothing here
knows prices: a DBU of job compute and one of all-purpose compute differ in price, not in number.
"""

from collections.abc import Mapping

# DBU an hour and node without Photon, from memory of the vendor's price pages, as of November 2026: no copy
# of these pages could be found to check them against. Others, and Photon's higher ones, go into
# CHURN_DATABRICKS_DBU_RATES.
DBU_PER_HOUR: Mapping[str, float] = {
    # AWS
    "i3.xlarge": 1.0,
    "i3.2xlarge": 2.0,
    "i3.4xlarge": 4.0,
    "i3.8xlarge": 8.0,
    "i3.16xlarge": 16.0,
    "m5.xlarge": 0.69,
    "m5.2xlarge": 1.37,
    "m5.4xlarge": 2.74,
    "m5d.xlarge": 0.69,
    "m5d.2xlarge": 1.37,
    "m5d.4xlarge": 2.74,
    # Azure
    "Standard_DS3_v2": 0.75,
    "Standard_DS4_v2": 1.5,
    "Standard_DS5_v2": 3.0,
}


def dbu_estimate(
    seconds: float, node_type: str | None, workers: int, rates: Mapping[str, float]
) -> float | None:
    """Return the DBU that a cluster uses in a number of seconds.

    Args:
        seconds: for which the cluster was at work, or up for nothing else.
        node_type: of driver and workers.
        workers: their number; the driver comes on top.
        rates: DBU per node and hour by node type; they override the built-in ones.

    Returns:
        DBU, None where the rate of the node type is unknown.
    """
    rate = {**DBU_PER_HOUR, **rates}.get(node_type or "")
    return None if rate is None else seconds / 3600 * (workers + 1) * rate
