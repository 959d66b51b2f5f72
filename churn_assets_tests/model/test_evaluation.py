import pandas as pd
import pytest

from churn_assets.errors import ModelError
from churn_assets.model.evaluation import evaluate, recency_baseline


def test_metrics_of_four_users_can_be_checked_by_hand():
    metrics = evaluate([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.8])

    # Of the four pairs of a churned and a staying user, 0.4 against 0.5 is the only one in the wrong order.
    assert metrics["roc_auc"] == 0.75
    # The first churned user is 1st of 1, the second is 2nd among the top 3.
    assert metrics["pr_auc"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert metrics["brier"] == pytest.approx((0.1**2 + 0.6**2 + 0.5**2 + 0.2**2) / 4)
    # -(ln 0.9 + ln 0.4 + ln 0.5 + ln 0.8) / 4
    assert metrics["log_loss"] == pytest.approx(0.48449, abs=1e-5)
    assert metrics["churn_rate"] == 0.5
    assert metrics["rows"] == 4


@pytest.mark.parametrize("label", [0, 1])
def test_a_holdout_in_which_all_did_the_same_cannot_judge(label: int):
    with pytest.raises(ModelError, match=f"^The holdout has only label {label}; .*churn_labels"):
        evaluate([label, label], [0.2, 0.7])


def test_the_baseline_ranks_by_recency_alone():
    frame = pd.DataFrame(
        {"days_since_last_event": [0, 5, 10, 20], "event_count_30d": [1, 9, 1, 9], "label": [0, 1, 0, 1]}
    )

    assert recency_baseline(frame) == 0.75


def test_the_baseline_too_takes_both_labels():
    with pytest.raises(ModelError, match="only label 0"):
        recency_baseline(pd.DataFrame({"days_since_last_event": [0, 5], "label": [0, 0]}))
