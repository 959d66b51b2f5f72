"""The outcome of each prediction, beside the prediction."""

import datetime as dt

import dagster as dg
from pyspark.sql import DataFrame

from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import Assets, table_asset
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE, label_dates
from churn_assets.assets.gold import reading_as
from churn_assets.lakehouse.withdrawn import withdraw_immature
from churn_assets.model.registry.versions import trained_versions
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, CHURN_PREDICTIONS, PREDICTION_OUTCOMES
from churn_assets.transforms import outcomes


def outcome_assets(settings: Settings) -> Assets:
    """Return the outcomes of predictions, with a partition for each labelled feature_date."""

    @dg.asset(
        **table_asset(PREDICTION_OUTCOMES, settings),
        partitions_def=label_dates(settings),
        backfill_policy=ONE_RUN_PER_RANGE,
        ins=reading_as(PREDICTION_OUTCOMES, settings, predictions=CHURN_PREDICTIONS, labels=CHURN_LABELS),
        code_version=code_version(outcomes.prediction_outcomes),
    )
    def prediction_outcomes(
        context: dg.AssetExecutionContext, predictions: DataFrame, labels: DataFrame
    ) -> DataFrame:
        withdraw_immature(context.resources.lakehouse, dt.datetime.now(dt.UTC), (PREDICTION_OUTCOMES,))
        versions = [row["model_version"] for row in predictions.select("model_version").distinct().collect()]
        trained = trained_versions(settings, versions)
        trained_until = {number: version.trained_until for number, version in trained.items()}
        return outcomes.prediction_outcomes(predictions, labels, trained_until)

    return [prediction_outcomes]
