"""The reasons why each user was predicted to churn or to stay."""

from functools import reduce

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import Assets, table_asset
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE, feature_dates
from churn_assets.assets.gold import reading_as
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, CHURN_REASONS, USER_FEATURES
from churn_assets.transforms import reasons


def reason_assets(settings: Settings) -> Assets:
    """Return the reasons."""

    @dg.asset(
        **table_asset(CHURN_REASONS, settings),
        partitions_def=feature_dates(settings),
        backfill_policy=ONE_RUN_PER_RANGE,
        ins=reading_as(CHURN_REASONS, settings, predictions=CHURN_PREDICTIONS, features=USER_FEATURES),
        code_version=code_version(reasons.churn_reasons),
    )
    def churn_reasons(
        context: dg.AssetExecutionContext, predictions: DataFrame, features: DataFrame
    ) -> DataFrame:
        from churn_assets.model.registry import registry

        registry.configure(settings)
        spark = context.resources.lakehouse.spark
        # Each prediction by the version that made it: dates of a range may have been scored before and after
        # a training.
        versions = sorted(
            row["model_version"] for row in predictions.select("model_version").distinct().collect()
        )
        context.add_output_metadata({"model_versions": ", ".join(map(str, versions)) or "none"})
        explained = []
        for version in versions:
            registry.require_own(settings, str(version))
            explain = registry.explainer(spark, registry.model_uri(settings, str(version)))
            scored = predictions.where(F.col("model_version") == version)
            explained.append(reasons.churn_reasons(scored, features, explain, explain.columns))
        return (
            reduce(lambda first, second: first.unionByName(second), explained)
            if explained
            else _no_reasons(predictions)
        )

    return [churn_reasons]


def _no_reasons(predictions: DataFrame) -> DataFrame:
    """Return the table without rows."""
    spark = predictions.sparkSession
    schema = ", ".join(f"{column.name} {column.type}" for column in CHURN_REASONS.columns)
    return spark.createDataFrame([], schema)
