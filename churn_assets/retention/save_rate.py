"""The one place that says how many contacted users are taken to stay who would have churned."""

from typing import NamedTuple

from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings

ASSUMED = "assumed: CHURN_SAVE_RATE"


class SaveRate(NamedTuple):
    """A share from above 0 to 1, and where it comes from, in words."""

    rate: float
    source: str


def save_rate_in_force(lake: Lakehouse, settings: Settings) -> SaveRate:  # noqa: ARG001 - where outcomes would be
    """Return the save rate that lists count with: the setting, as no outcome of a contact is measured."""
    return SaveRate(settings.save_rate, ASSUMED)
