"""The save rate by which contacts are valued, measured where it is known, else assumed; and words for it."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import OF_ALL, TREATMENT_OUTCOMES

PINNED = "CHURN_SAVE_RATE_SOURCE=assumed"


class SaveRate(NamedTuple):
    """The rate that is in force, 0 to 1, where it comes from, and both in words without a full stop.

    ``has_outcomes`` says whether anything is known of contacts, be it too little for a rate.
    """

    rate: float
    source: Literal["measured", "assumed"]
    says: str
    has_outcomes: bool = True

    @property
    def is_useless(self) -> bool:
        """Whether it is known that contacts save nobody."""
        return self.rate == 0


def save_rate_of(lake: Lakehouse) -> SaveRate:
    """Return the save rate in force in a lake, of whose tables none is created."""
    return save_rate_in_force(lake.settings, measured(lake))


def measured(lake: Lakehouse) -> Mapping[str, Any] | None:
    """Return the row of all users of ``gold.treatment_outcomes``, None where there is none."""
    if lake.version(TREATMENT_OUTCOMES) < 1:
        return None
    columns = ", ".join(TREATMENT_OUTCOMES.column_names)
    rows = lake.query(
        f"SELECT {columns} FROM {{outcomes}} WHERE dimension = '{OF_ALL}'",  # noqa: S608 - of the contract
        outcomes=TREATMENT_OUTCOMES,
    )
    return rows[0] if rows else None


def save_rate_in_force(settings: Settings, outcome: Mapping[str, Any] | None) -> SaveRate:
    """Choose between the measured save rate and ``CHURN_SAVE_RATE``.

    The measured one is in force once its interval lies above 0. Where it lies at or below 0, contacting is
    known to save nobody, and the rate is 0. Between the two, and with ``CHURN_SAVE_RATE_SOURCE=assumed``, the
    assumed one stays.

    Args:
        settings: the deployment's.
        outcome: the row of all users of ``gold.treatment_outcomes``, None where there is none.
    """
    assumed = f"save rate {settings.save_rate:g} assumed (CHURN_SAVE_RATE)"
    if outcome is None:
        return SaveRate(settings.save_rate, "assumed", assumed, has_outcomes=False)
    if outcome["save_rate"] is None:
        says = f"{assumed}; not measured yet: {outcome['reason']}"
        return SaveRate(settings.save_rate, "assumed", says)
    found = _in_words(outcome)
    if settings.save_rate_source == "assumed":
        return SaveRate(settings.save_rate, "assumed", f"{assumed}, as {PINNED} says; {found}")
    low, high = outcome["save_rate_low"], outcome["save_rate_high"]
    if low > 0:
        says = f"save rate {found} instead of the assumed {settings.save_rate:g} (pin that: {PINNED})"
        return SaveRate(outcome["save_rate"], "measured", says)
    if high <= 0:
        says = (
            f"save rate 0, as contacting has saved nobody: {found}. No contact pays; to go on with "
            f"the assumed {settings.save_rate:g}: {PINNED}"
        )
        return SaveRate(0.0, "measured", says)
    # As the interval reaches below 0, the assumed rate cannot lie below it.
    doubt = "; the assumed rate lies above that: lower it" if settings.save_rate > high else ""
    says = f"{assumed}; {found}, which may be none{doubt}"
    return SaveRate(settings.save_rate, "assumed", says)


def _in_words(outcome: Mapping[str, Any]) -> str:
    interval = f"{outcome['save_rate_low']:.2f} to {outcome['save_rate_high']:.2f}"
    return (
        f"{outcome['save_rate']:.2f} measured ({interval}, {outcome['contacted_users']:,} contacted, "
        f"{outcome['control_users']:,} control)"
    )
