"""The model, from labelled rows to the registered version that Production names."""

from typing import Any

import dagster as dg
from pydantic import Field
from pyspark.sql import DataFrame

from churn_assets.assets.common import ON_SPARK, OWNERS, Assets
from churn_assets.assets.gold import reading
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, USER_FEATURES

CHURN_PREDICTION_MODEL = dg.AssetKey("churn_prediction_model")


class TrainingConfig(dg.Config):
    """Which estimator, and which of its parameters differ from the defaults."""

    estimator: str = "gradient_boosting"
    params: dict[str, Any] = Field(default_factory=dict)


def model_assets(settings: Settings) -> Assets:
    """The model."""

    @dg.asset(
        key=CHURN_PREDICTION_MODEL,
        group_name="model",
        description="Trained on mature feature_dates, judged on later ones, registered in MLflow as "
        "churn-prediction-model; its alias Production is what scores and serves.",
        kinds={"mlflow", "scikitlearn"},
        owners=OWNERS,
        ins={"features": reading(USER_FEATURES), "labels": reading(CHURN_LABELS)},
        required_resource_keys=ON_SPARK | {"mlflow"},
        pool="churn_prediction_model",
    )
    def churn_prediction_model(
        context: dg.AssetExecutionContext, config: TrainingConfig, features: DataFrame, labels: DataFrame
    ) -> dg.MaterializeResult:
        # Not above: MLflow and scikit-learn take 4 s to import, and most processes train nothing.
        from churn_assets.model import dataset, training

        lake = context.resources.lakehouse
        outcome = training.train_and_register(
            dataset.labelled_rows(features, labels),
            mlflow=context.resources.mlflow,
            settings=settings,
            delta_versions={str(table): lake.version(table) for table in (USER_FEATURES, CHURN_LABELS)},
            estimator=config.estimator,
            params=config.params,
        )
        context.log.info(outcome.reason or f"Version {outcome.version} is Production.")
        return dg.MaterializeResult(
            metadata={
                "status": outcome.status,
                "labelled_rows": outcome.rows,
                "mlflow_run_id": outcome.run_id,
                **({"reason": outcome.reason} if outcome.reason else {}),
                **_about_the_version(outcome),
            },
            # A skipped training leaves the Production model, and so everything scored with it, as it was.
            data_version=dg.DataVersion(outcome.version or _production(settings)),
        )

    return [churn_prediction_model]


def _about_the_version(outcome: Any) -> dict[str, Any]:
    if outcome.version is None:
        return {}
    return {
        "model_version": outcome.version,
        "estimator": outcome.estimator,
        "train_dates": str(outcome.train_dates),
        "holdout_dates": str(outcome.holdout_dates),
        "training_rows": outcome.training_rows,
        "holdout_rows": outcome.holdout_rows,
        **outcome.metrics,
    }


def _production(settings: Settings) -> str:
    from churn_assets.model import registry

    version = registry.production_version(settings)
    return str(version.version) if version else "none"
