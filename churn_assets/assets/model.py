"""The model asset: a training on the labelled rows, whose version the gate promotes or refuses."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field
from pyspark.sql import DataFrame

from churn_assets import asset_paths, markdown
from churn_assets.assets.common import ON_SPARK, OWNERS, Assets, retries
from churn_assets.assets.gold import reading
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

if TYPE_CHECKING:
    from churn_assets.model.gate.decision import Decision
    from churn_assets.model.training import TrainingOutcome

CHURN_PREDICTION_MODEL = dg.AssetKey(asset_paths.MODEL)

# The entry of a training's metadata that names them, where there are any.
CONSTANT_FEATURES = "constant_features"

# Of metrics in the metadata; MLflow has them unrounded.
DIGITS = 5

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
        owners=OWNERS,
        ins={
            "features": reading(USER_FEATURES),
            "labels": reading(CHURN_LABELS),
            "users": reading(USERS),
        },
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
                "status": outcome.status,
                "reason": outcome.reason,
                "labelled_rows": outcome.rows,
                "save_rate": save_rate.says,
                "rows_without_a_label_yet": flow["rows without a label yet"],
                "mlflow_run_id": outcome.run_id,
                **_run_url(settings, outcome.run_id),
                **_version_metadata(outcome),
            },
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


def _version_metadata(outcome: "TrainingOutcome") -> dict[str, Any]:
    decision, split = outcome.decision, outcome.split
    if outcome.version is None or decision is None or split is None:
        return {}
    from churn_assets.model.report.report import markdown_picture

    # Of slices too, which are named after countries as they landed.
    reasons = "\n".join(f"- {markdown.text(reason)}" for reason in (*decision.reasons, *decision.notes))
    return {
        "model_version": outcome.version,
        "champion_version": outcome.champion_version or "none",
        "decision": dg.MetadataValue.md(f"**{outcome.status}**\n\n{reasons}"),
        "differences": _differences(decision),
        "slices": _slices(decision),
        "report": dg.MetadataValue.path(outcome.report),
        "estimator": outcome.estimator,
        **{f"{name}_dates": str(dates) for name, dates in split._asdict().items()},
        "training_rows": outcome.training_rows,
        **({CONSTANT_FEATURES: ", ".join(outcome.constant_features)} if outcome.constant_features else {}),
        "holdout_rows": outcome.holdout_rows,
        **outcome.metrics,
        **{
            f"{name}_curve": dg.MetadataValue.md(markdown_picture(png))
            for name, png in outcome.pictures.items()
        },
    }


def _differences(decision: "Decision") -> dg.TableMetadataValue:
    """Compare challenger and champion, or recency alone, with the bounds of a 95 % interval."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "metric": difference.metric,
                    "challenger": round(difference.challenger, DIGITS),
                    decision.against: round(difference.champion, DIGITS),
                    "difference_low": round(difference.low, DIGITS),
                    "difference_high": round(difference.high, DIGITS),
                }
            )
            for difference in decision.differences
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("metric", "string")]
            + [
                dg.TableColumn(name, "float")
                for name in ("challenger", decision.against, "difference_low", "difference_high")
            ]
        ),
    )


def _slices(decision: "Decision") -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "slice": part.name,
                    "rows": part.rows,
                    "churn_rate": round(part.churn_rate, DIGITS),
                    "roc_auc": round(part.roc_auc, DIGITS),
                    "low": round(part.low, DIGITS),
                    "high": round(part.high, DIGITS),
                }
            )
            for part in decision.slices
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("slice", "string"), dg.TableColumn("rows", "int")]
            + [dg.TableColumn(name, "float") for name in ("churn_rate", "roc_auc", "low", "high")]
        ),
    )


def _production(settings: Settings) -> str:
    from churn_assets.model.registry import registry

    version = registry.production_version(settings)
    return str(version.version) if version else "none"
