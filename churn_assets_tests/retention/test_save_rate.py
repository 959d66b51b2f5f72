"""Which save rate is in force, and what is said of it."""

import numpy as np
import pytest

from churn_assets.model.metrics.evaluation import CostMatrix
from churn_assets.retention.save_rate import measured, save_rate_in_force, save_rate_of
from churn_assets.tables import TREATMENT_OUTCOMES
from churn_assets_tests.rows import frame

OUTCOME = {
    "save_rate": 0.14,
    "save_rate_low": 0.09,
    "save_rate_high": 0.19,
    "contacted_users": 3210,
    "control_users": 356,
    "reason": None,
}


def found(value, low, high):
    return {**OUTCOME, "save_rate": value, "save_rate_low": low, "save_rate_high": high}


def test_without_outcomes_the_assumed_rate_is_in_force(make_settings) -> None:
    rate = save_rate_in_force(make_settings(save_rate=0.2), None)

    assert rate == (0.2, "assumed", "save rate 0.2 assumed (CHURN_SAVE_RATE)", False)


def test_a_measured_rate_above_noise_takes_its_place_and_says_so(make_settings) -> None:
    # Also where the assumed one was set: it is the assumption for as long as nothing is known.
    rate = save_rate_in_force(make_settings(save_rate=0.1), OUTCOME)

    assert (rate.rate, rate.source) == (0.14, "measured")
    assert rate.says == (
        "save rate 0.14 measured (0.09 to 0.19, 3,210 contacted, 356 control) instead of the assumed 0.1 "
        "(pin that: CHURN_SAVE_RATE_SOURCE=assumed)"
    )


def test_who_pins_the_assumed_rate_still_sees_what_was_measured(make_settings) -> None:
    rate = save_rate_in_force(make_settings(save_rate=0.1, save_rate_source="assumed"), OUTCOME)

    assert (rate.rate, rate.source) == (0.1, "assumed")
    assert "as CHURN_SAVE_RATE_SOURCE=assumed says; 0.14 measured (0.09 to 0.19" in rate.says


def test_what_may_be_nothing_replaces_nothing(make_settings) -> None:
    rate = save_rate_in_force(make_settings(save_rate=0.1), found(0.05, -0.02, 0.12))

    assert (rate.rate, rate.source) == (0.1, "assumed")
    assert rate.says.endswith("(-0.02 to 0.12, 3,210 contacted, 356 control), which may be none")


def test_an_assumed_rate_above_all_that_was_measured_is_called_too_high(make_settings) -> None:
    rate = save_rate_in_force(make_settings(save_rate=0.1), found(0.01, -0.02, 0.04))

    assert rate.rate == 0.1
    assert rate.says.endswith("the assumed rate lies above that: lower it")


def test_contacts_that_certainly_save_nobody_have_the_rate_0(make_settings) -> None:
    rate = save_rate_in_force(make_settings(), found(-0.2, -0.3, -0.1))

    assert (rate.rate, rate.source) == (0.0, "measured")
    assert rate.says.startswith("save rate 0, as contacting has saved nobody: -0.20 measured (-0.30 to -0.10")
    assert "No contact pays" in rate.says


def test_too_few_contacts_say_what_is_missing(make_settings) -> None:
    outcome = {**found(None, None, None), "reason": "only 34 users in the control group; 100 are needed"}

    rate = save_rate_in_force(make_settings(), outcome)

    assert rate.source == "assumed"
    assert rate.says.endswith("not measured yet: only 34 users in the control group; 100 are needed")
    assert rate.has_outcomes


def test_with_a_rate_of_0_nobody_is_worth_a_contact(make_settings) -> None:
    costs = CostMatrix.of(make_settings(), 0.0)

    assert (costs.can_pay, costs.threshold, costs.gain) == (False, 1.0, 0.0)
    assert costs.profit(np.array([1.0, 1.0]), np.array([0.9, 1.0])).tolist() == [0.0, 0.0]


def test_the_measured_rate_is_in_the_cost_matrix(make_settings) -> None:
    costs = CostMatrix.of(make_settings(contact_cost=1, saved_value=50, save_rate=0.1), 0.2)

    assert (costs.gain, costs.threshold) == (10.0, pytest.approx(0.1))


def test_the_row_of_all_is_read_from_the_lake_and_looking_creates_no_table(lake, spark) -> None:
    assert measured(lake) is None
    assert save_rate_of(lake).has_outcomes is False
    assert lake.version(TREATMENT_OUTCOMES) == -1

    names = TREATMENT_OUTCOMES.column_names
    counts = dict.fromkeys((name for name in names if name.endswith(("_users", "_churners"))), 0)
    of_all, of_high = (
        {
            **dict.fromkeys(names),
            **counts,
            **OUTCOME,
            "save_rate": rate,
            "dimension": kind,
            "segment": part,
        }
        for kind, part, rate in (("all", "all", 0.14), ("risk_band", "high", 0.5))
    )
    rows = [tuple(row[name] for name in names) for row in (of_all, of_high)]
    lake.write(TREATMENT_OUTCOMES, frame(spark, TREATMENT_OUTCOMES, rows))

    assert save_rate_of(lake).rate == 0.14
