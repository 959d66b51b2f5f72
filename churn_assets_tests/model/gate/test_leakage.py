import numpy as np
import pandas as pd
import pytest

from churn_assets.errors import ModelError
from churn_assets.model.gate.leakage import alarms

LABEL = np.repeat([0, 1], 50)


def frame(**features: object) -> pd.DataFrame:
    return pd.DataFrame({**features, "label": LABEL})


def test_a_feature_that_is_the_label_is_named():
    rows = frame(events_next_month=1.0 - LABEL, event_count_30d=np.arange(100.0) % 7)

    (alarm,) = alarms(rows, ["event_count_30d", "events_next_month"])

    assert alarm.startswith(
        "events_next_month alone tells churned from staying users with an AUC of 1.0000, above 0.98: "
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_both_directions_count(sign: float):
    leaked = sign * (LABEL + np.where(np.arange(100) == 3, 1.0, 0.0))

    assert len(alarms(frame(leaked=leaked), ["leaked"])) == 1


def test_a_strong_feature_is_no_leak():
    # Two of 50 staying users are above all churned ones: 0.96 of the pairs are in order.
    strong = LABEL.astype("float64")
    strong[:2] = 2.0

    assert alarms(frame(strong=strong), ["strong"]) == ()
    assert len(alarms(frame(strong=strong), ["strong"], limit=0.959)) == 1


def test_a_value_that_is_missing_just_where_users_churned_is_a_leak():
    values = np.where(LABEL == 1, np.nan, np.arange(100.0) % 5)

    assert alarms(frame(half_there=values), ["half_there"])[0].startswith("half_there alone")


def test_missing_values_do_not_hide_a_leak():
    values = np.where(np.arange(100) % 2 == 0, np.nan, LABEL)

    assert len(alarms(frame(now_and_then=values), ["now_and_then"])) == 1


def test_an_infinite_value_is_the_largest_one():
    assert len(alarms(frame(ratio=np.where(LABEL == 1, np.inf, 1.0)), ["ratio"])) == 1


def test_a_column_that_is_not_there_cannot_be_passed_over():
    with pytest.raises(ModelError, match=r"^The rows have no column rolling_7d_events;"):
        alarms(frame(a=LABEL), ["a", "rolling_7d_events"])


def test_nothing_can_be_tested_with_one_label_alone():
    with pytest.raises(ModelError, match=r"^The rows do not have both labels;"):
        alarms(pd.DataFrame({"a": [1.0, 2.0], "label": [0, 0]}), ["a"])
