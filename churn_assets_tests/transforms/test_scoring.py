import datetime as dt

import pandas as pd
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType

from churn_assets import tables
from churn_assets.transforms import scoring
from churn_assets_tests.rows import D, frame

SCORED_AT = dt.datetime(2026, 3, 11, 6, 0, 0, 1, tzinfo=dt.UTC)


def test_a_prediction_is_the_models_answer_to_the_six_features_in_order(spark):
    def as_a_number(*digits: pd.Series) -> pd.Series:
        if any(column.dtype != "float64" for column in digits):
            raise TypeError("features must be doubles")
        return (pd.concat(digits, axis=1) * [10.0 ** -(place + 1) for place in range(6)]).sum(axis=1)

    score = F.pandas_udf(DoubleType())(as_a_number)  # type: ignore[call-overload]  # the overloads want a type as text
    features = frame(
        spark,
        tables.USER_FEATURES,
        [(1, D, 1, 2, 3, 4, 5, 6), (2, D, 5, 0, 0, 0, 0, 0), (3, D, 4, 9, 9, 9, 9, 9)],
    )
    table = scoring.churn_predictions(features, score, tables.WINDOW_FEATURES, SCORED_AT, 7)
    assert table.dtypes == [(column.name, column.type) for column in tables.CHURN_PREDICTIONS.columns]
    rows = table.selectExpr(
        "user_id",
        "feature_date",
        "round(churn_probability, 9)",
        "predicted_churn",
        "unix_micros(scored_at)",
        "model_version",
    ).collect()
    at = 1_773_208_800_000_001
    assert sorted(tuple(row) for row in rows) == [
        (1, D, 0.123456, False, at, 7),
        (2, D, 0.5, True, at, 7),
        (3, D, 0.499999, False, at, 7),
    ]


def test_a_version_from_before_a_feature_came_is_asked_with_its_own(spark):
    features = frame(spark, tables.USER_FEATURES, [(1, D, 1, 2, 3, 4, 5, 6)])
    table = scoring.churn_predictions(
        features,
        lambda first, second: second / first / 10,
        ["account_age_days", "event_count_30d"],
        SCORED_AT,
        7,
    )

    assert [row["churn_probability"] for row in table.collect()] == [0.02]
