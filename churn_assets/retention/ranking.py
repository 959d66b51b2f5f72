"""The order of a list: by risk, or by uplift where that is known to earn more; and words for it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from churn_assets.retention.save_rate import PINNED
from churn_assets.settings import Settings


class Ranking(NamedTuple):
    """The order that is in force, in words without a full stop.

    ``reached`` is the share of users whose contact the lot decided, by which uplift is scaled.
    """

    is_by_uplift: bool
    says: str
    reached: float = 1.0


def ranking_in_force(settings: Settings, outcome: Mapping[str, Any] | None) -> Ranking:
    """Choose between risk and uplift, both times value.

    Uplift is in force once the interval of what it earns more lies above 0. Else, where contacting is known
    to save nobody, and with ``CHURN_SAVE_RATE_SOURCE=assumed``, risk stays.

    Args:
        settings: the deployment's.
        outcome: the row of all users of ``gold.treatment_outcomes``, None where there is none.
    """
    by_risk = "ranked by risk x value"
    if outcome is None:
        return Ranking(False, by_risk)
    if settings.save_rate_source == "assumed":
        return Ranking(False, f"{by_risk}, as {PINNED} says")
    gain, low, high = (outcome[f"uplift_gain{end}"] for end in ("", "_low", "_high"))
    if gain is None:
        why = outcome["uplift_reason"] or "the outcomes of treatments have not been measured anew"
        return Ranking(False, f"{by_risk}, as uplift is not known: {why}")
    found = f"{gain:+,.2f} for each listed user ({low:+,.2f} to {high:+,.2f})"
    if outcome["save_rate_high"] <= 0:
        return Ranking(False, f"{by_risk}, as contacting has saved nobody")
    if low <= 0:
        return Ranking(False, f"{by_risk}; by uplift x value: {found} more, not surely a gain")
    says = f"ranked by uplift x value, which earns {found} more than risk x value (pin that: {PINNED})"
    return Ranking(True, says, outcome["reached"])
