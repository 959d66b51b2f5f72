"""The model asset: a training on the labelled rows, whose version the gate promotes or refuses."""

from typing import Any

import dagster as dg
from pydantic import Field
from pyspark.sql import DataFrame

from churn_assets import asset_paths
from churn_assets.assets.common import ON_SPARK, OWNERS, Assets, retries, tags
from churn_assets.assets.gold import reading
from churn_assets.assets.training_results import check_results, check_specs, training_metadata
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    USER_FEATURES,
    USERS,
    Table,
)

CHURN_PREDICTION_MODEL = dg.AssetKey(asset_paths.MODEL)

# The tables whose rows the report counts, in the order in which data flows.
FLOW: dict[str, Table] = {
    "lines landed": LANDED_EVENTS,
    "lines quarantined": QUARANTINED_EVENTS,
    "events": EVENTS,
    "users": USERS,
    "feature rows": USER_FEATURES,
}


class TrainingConfig(dg.Config):
    """The estimator to train, ``auto`` for all in competition, and parameters that override a named one's."""

    estimator: str = "auto"
    params: dict[str, Any] = Field(default_factory=dict)


def model_assets(settings: Settings) -> Assets:
    """Return the model asset."""

    @dg.asset(
        key=CHURN_PREDICTION_MODEL,
        group_name="model",
        description="Trained on mature feature_dates, judged on later ones, registered in MLflow as "
        "churn-prediction-model. Its alias Production is what scores and serves, and moves only to a version "
        "that is better than the last.",
        kinds={"mlflow", "scikitlearn"},
        # Its run in MLflow has a few rows of users, as the example of an input.
        tags=tags(is_personal=True),
        owners=OWNERS,
        ins={
            "features": reading(USER_FEATURES),
            "labels": reading(CHURN_LABELS),
            "users": reading(USERS),
        },
        check_specs=check_specs(),
        required_resource_keys=ON_SPARK | {"mlflow"},
        pool="churn_prediction_model",
        retry_policy=retries(settings),
    )
    def churn_prediction_model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        features: DataFrame,
        labels: DataFrame,
        users: DataFrame,
    ) -> dg.MaterializeResult:
        # Not above: MLflow and scikit-learn take 4 s to import, and most processes train nothing.
        from churn_assets.model import training
        from churn_assets.model.data import dataset
        from churn_assets.retention.save_rate import save_rate_of

        lake: Lakehouse = context.resources.lakehouse
        flow, save_rate = _flow(lake), save_rate_of(lake)
        outcome = training.train_and_register(
            dataset.labelled_rows(features, labels),
            mlflow=context.resources.mlflow,
            settings=settings,
            delta_versions={str(table): lake.version(table) for table in (USER_FEATURES, CHURN_LABELS)},
            estimator=config.estimator,
            params=config.params,
            users=users,
            flow=flow,
            save_rate=save_rate.rate,
            save_rate_says=save_rate.says,
            log=context.log.info,
        )
        return dg.MaterializeResult(
            metadata={
                **training_metadata(outcome, flow["rows without a label yet"]),
                "save_rate": save_rate.says,
                "mlflow_run_id": outcome.run_id,
                **_run_url(settings, outcome.run_id),
            },
            check_results=check_results(outcome),
            # A skipped or refused training leaves Production as it is, and so everything scored with it.
            data_version=dg.DataVersion(_production(settings)),
        )

    return [churn_prediction_model]


def _flow(lake: Lakehouse) -> dict[str, int]:
    rows = {name: lake.details(table).rows for name, table in FLOW.items() if lake.version(table) >= 0}
    labels = sum(lake.partition_rows(CHURN_LABELS).values())
    # Censored: whether these users churn is not known yet.
    return {**rows, "label rows": labels, "rows without a label yet": rows.get("feature rows", 0) - labels}


def _run_url(settings: Settings, run_id: str) -> dict[str, Any]:
    from churn_assets.model.registry import registry

    url = registry.run_url(settings, run_id)
    return {"mlflow_run": dg.MetadataValue.url(url)} if url else {}


def _production(settings: Settings) -> str:
    from churn_assets.model.registry import registry

    version = registry.production_version(settings)
    return str(version.version) if version else "none"
