"""The daily scores."""

import datetime as dt

import dagster as dg
from pyspark.sql import DataFrame

from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import Assets, table_asset
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE, feature_dates
from churn_assets.assets.gold import reading_as
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.errors import ModelError
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES
from churn_assets.transforms import scoring


def prediction_assets(settings: Settings) -> Assets:
    """Return the predictions."""

    @dg.asset(
        **table_asset(CHURN_PREDICTIONS, settings),
        partitions_def=feature_dates(settings),
        backfill_policy=ONE_RUN_PER_RANGE,
        ins=reading_as(CHURN_PREDICTIONS, settings, features=USER_FEATURES),
        deps=[CHURN_PREDICTION_MODEL],
        code_version=code_version(scoring.churn_predictions),
    )
    def churn_predictions(context: dg.AssetExecutionContext, features: DataFrame) -> DataFrame:
        from churn_assets.model.registry import registry

        registry.configure(settings)
        production = registry.production_version(settings)
        if production is None:
            raise ModelError(
                "No Production model is registered, so nothing can be scored. Materialise "
                "churn_prediction_model first; it takes 10,000 labelled rows."
            )
        registry.require_own(settings, str(production.version))
        definition = registry.churn_definition(settings, production)
        context.add_output_metadata(
            {
                "model_version": str(production.version),
                **(definition._asdict() if definition else {}),
            }
        )
        scorer = registry.scorer(
            context.resources.lakehouse.spark, registry.model_uri(settings, production.version)
        )
        return scoring.churn_predictions(
            features, scorer, scorer.columns, dt.datetime.now(dt.UTC), int(production.version)
        )

    return [churn_predictions]
