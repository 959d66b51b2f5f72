"""Which order a list has, and what is said of it."""

import pytest

from churn_assets.retention.ranking import ranking_in_force

OUTCOME = {
    "save_rate": 0.14,
    "save_rate_low": 0.09,
    "save_rate_high": 0.19,
    "reached": 0.7,
    "uplift_gain": 0.21,
    "uplift_gain_low": 0.05,
    "uplift_gain_high": 0.37,
    "uplift_reason": None,
}


def test_uplift_that_surely_earns_more_ranks_the_list_and_says_so(make_settings) -> None:
    ranking = ranking_in_force(make_settings(), OUTCOME)

    assert (ranking.is_by_uplift, ranking.reached) == (True, 0.7)
    assert ranking.says == (
        "ranked by uplift x value, which earns +0.21 for each listed user (+0.05 to +0.37) more than risk x "
        "value (pin that: CHURN_SAVE_RATE_SOURCE=assumed)"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"uplift_gain_low": 0.0},
            "; by uplift x value: +0.21 for each listed user (+0.00 to +0.37) more, not surely a gain",
        ),
        (
            {"uplift_gain": None, "uplift_gain_low": None, "uplift_reason": "only 34 users in control"},
            ", as uplift is not known: only 34 users in control",
        ),
        # A row that an earlier release measured.
        (
            {"uplift_gain": None, "uplift_gain_low": None},
            ", as uplift is not known: the outcomes of treatments have not been measured anew",
        ),
        ({"save_rate_low": -0.3, "save_rate_high": -0.1}, ", as contacting has saved nobody"),
    ],
    ids=["may be nothing", "too few", "not measured yet", "saves nobody"],
)  # fmt: skip
def test_otherwise_it_stays_risk_and_says_why(make_settings, changes, says) -> None:
    ranking = ranking_in_force(make_settings(), {**OUTCOME, **changes})

    assert not ranking.is_by_uplift
    assert ranking.says.startswith("ranked by risk x value")
    assert ranking.says.endswith(says)


def test_who_pins_the_assumed_save_rate_pins_the_order_by_risk(make_settings) -> None:
    ranking = ranking_in_force(make_settings(save_rate_source="assumed"), OUTCOME)

    assert ranking[:2] == (False, "ranked by risk x value, as CHURN_SAVE_RATE_SOURCE=assumed says")


def test_before_anything_is_known_of_contacts_the_order_is_that_of_risk(make_settings) -> None:
    assert ranking_in_force(make_settings(), None)[:2] == (False, "ranked by risk x value")
