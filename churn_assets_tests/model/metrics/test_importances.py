from typing import Any

import pandas as pd
from sklearn.linear_model import LogisticRegression

from churn_assets.model.metrics.importances import importances
from churn_assets.tables import WINDOW_FEATURES
from churn_assets_tests.model.conftest import labelled_frame


def fitted() -> tuple[LogisticRegression, pd.DataFrame]:
    rows: Any = labelled_frame(users=200, dates=3)[["user_id", *WINDOW_FEATURES, "label"]]
    rows[WINDOW_FEATURES] = rows[WINDOW_FEATURES].astype("float64")
    away_alone = rows[WINDOW_FEATURES] * [float(name == "days_since_last_event") for name in WINDOW_FEATURES]
    return LogisticRegression().fit(away_alone, rows["label"]), rows


def test_shuffling_the_only_feature_that_a_model_looks_at_is_all_that_costs():
    model, rows = fitted()

    found = importances(model, rows)

    assert list(found) == list(WINDOW_FEATURES)
    assert found.pop("days_since_last_event") > 0.2
    assert set(found.values()) == {0.0}


def test_rows_of_one_class_have_no_importances():
    model, rows = fitted()

    assert importances(model, rows.query("label == 1")) == {}
    assert importances(model, rows.head(0)) == {}
