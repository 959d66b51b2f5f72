"""The serving assets: the online features, and the endpoint with its comparison with the batch."""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from churn_assets import asset_paths
from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import ON_SPARK, OWNERS, Assets, tags
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.errors import EndpointError
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.serving.rollout.clients import EndpointLocation
    from churn_assets.serving.rollout.deploy import Deployment
    from churn_assets.serving.rollout.parity_report import ParityReport
    from churn_assets.serving.rollout.rollout import RollOut

ONLINE_USER_FEATURES = dg.AssetKey(asset_paths.ONLINE_FEATURES)
CHURN_PREDICTION_ENDPOINT = dg.AssetKey(asset_paths.ENDPOINT)
AGREES_WITH_BATCH = dg.AssetCheckKey(CHURN_PREDICTION_ENDPOINT, "agrees_with_batch")

# The engine for the sample, and the endpoint.
ON_SPARK_WITH_ENDPOINT = ON_SPARK | {"endpoint"}


class EndpointConfig(dg.Config):
    """The time limit of a deployment in seconds, and the sample of users to compare."""

    # The first container takes up to half an hour to build.
    timeout_seconds: float = Field(default=45 * 60.0, gt=0)
    users: int = Field(default=200, ge=1)
    seed: int = 1


def endpoint_assets(retry_policy: dg.RetryPolicy | None = None) -> Assets:
    """Return the online features, and the endpoint with its check."""

    @dg.asset(
        key=ONLINE_USER_FEATURES,
        group_name="serving",
        description="The latest feature_date of user_features, where the endpoint looks users up by user_id.",
        kinds={"numpy"},
        tags=tags(is_personal=True),
        owners=OWNERS,
        deps=[asset_key(USER_FEATURES)],
        required_resource_keys=ON_SPARK_WITH_ENDPOINT,
        pool="online_user_features",
        retry_policy=retry_policy,
    )
    def online_user_features(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from churn_assets.serving.features import online_features

        lake: Lakehouse = context.resources.lakehouse
        endpoint: EndpointLocation = context.resources.endpoint
        latest = online_features.latest(lake)
        version = dg.DataVersion(latest.data_version)
        published = endpoint.publish(lake, latest)
        if "online_store" in published and (reason := published.get("not_published")):
            context.log.warning(reason)
        if folder := published.get("folder"):
            published["folder"] = dg.MetadataValue.path(folder)
        return dg.MaterializeResult(metadata=published, data_version=version)

    # One step, so that a deployment and its check share a server; the check also runs alone.
    @dg.multi_asset(
        name="churn_prediction_endpoint",
        specs=[
            dg.AssetSpec(
                CHURN_PREDICTION_ENDPOINT,
                group_name="serving",
                description="churn-prediction-endpoint serves the Production version, and its answers "
                "are those of the batch.",
                kinds={"mlflow"},
                tags=tags(is_personal=True),
                owners=OWNERS,
                deps=[CHURN_PREDICTION_MODEL, asset_key(CHURN_PREDICTIONS), ONLINE_USER_FEATURES],
                skippable=True,
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                AGREES_WITH_BATCH.name,
                asset=CHURN_PREDICTION_ENDPOINT,
                description="A sample of users gets from the endpoint what churn_predictions holds, to 1e-9.",
            )
        ],
        can_subset=True,
        required_resource_keys=ON_SPARK_WITH_ENDPOINT,
        pool="churn_prediction_endpoint",
        retry_policy=retry_policy,
    )
    def churn_prediction_endpoint(
        context: dg.AssetExecutionContext, config: EndpointConfig
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        from churn_assets.serving.rollout.rollout import roll_out

        deploys = CHURN_PREDICTION_ENDPOINT in context.selected_asset_keys
        result = roll_out(
            context.resources.lakehouse,
            context.resources.endpoint,
            context.log.info,
            deploys=deploys,
            users=config.users,
            seed=config.seed,
            timeout=config.timeout_seconds,
        )
        report = result.report
        description = report.description(scored_by(context.instance, report.feature_date))
        if AGREES_WITH_BATCH in context.selected_asset_check_keys:
            yield dg.AssetCheckResult(
                passed=report.passed,
                check_name=AGREES_WITH_BATCH.name,
                asset_key=CHURN_PREDICTION_ENDPOINT,
                description=description,
                metadata={"server": result.server, **_report_metadata(report)},
            )
        if deploys and not report.passed:
            raise EndpointError(f"{description}. See the worst rows in the check {AGREES_WITH_BATCH.name}.")
        if deploys and result.deployment:
            yield _materialization(result, result.deployment)

    return [online_user_features, churn_prediction_endpoint]


def endpoint_schedules() -> list[dg.ScheduleDefinition]:
    """Return the schedule of the hourly comparison."""
    job = dg.define_asset_job(
        "endpoint_parity",
        selection=dg.AssetSelection.checks(AGREES_WITH_BATCH),
        description="Compares the endpoint with the batch, and deploys nothing.",
    )

    def once_deployed(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if context.instance.get_latest_materialization_event(CHURN_PREDICTION_ENDPOINT) is None:
            return dg.SkipReason("churn_prediction_endpoint has never been deployed.")
        return dg.RunRequest()

    return [
        dg.ScheduleDefinition(
            job=job,
            # Not on the hour, when other schedules start.
            cron_schedule="17 * * * *",
            execution_timezone="UTC",
            execution_fn=once_deployed,
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
    ]


def scored_by(instance: dg.DagsterInstance, feature_date: dt.date) -> str:
    """Return the version that scored a date, from its last materialisation; "unknown" without one."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key(CHURN_PREDICTIONS), asset_partitions=[feature_date.isoformat()]),
        limit=1,
    ).records
    materialization = records[0].asset_materialization if records else None
    version = materialization.metadata.get("model_version") if materialization else None
    return str(version.value) if version else "unknown"


def _materialization(result: "RollOut", deployment: "Deployment") -> dg.MaterializeResult:
    return dg.MaterializeResult(
        asset_key=CHURN_PREDICTION_ENDPOINT,
        metadata={
            "model_version": deployment.version,
            "url": dg.MetadataValue.url(result.url),
            "server": result.server,
            "seconds_to_ready": round(deployment.seconds, 3),
            "changed": deployment.changed,
            **{f"note_{place}": note for place, note in enumerate(deployment.notes, start=1)},
            **_report_metadata(result.report),
        },
        data_version=dg.DataVersion(deployment.version),
    )


def _report_metadata(report: "ParityReport") -> dict[str, Any]:
    return {
        "feature_date": str(report.feature_date),
        "compared_users": report.users,
        "asked_by": ", ".join(report.asked_by),
        "served_versions": ", ".join(report.versions) or "unknown",
        "largest_difference": report.largest_difference,
        "p50_request_ms": round(report.p50_request_ms, 3),
        "worst_rows": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "user_id": row.user_id,
                        "asked_by": row.asked_by,
                        "batch": row.batch,
                        "endpoint": "none" if row.endpoint is None else repr(row.endpoint),
                        "difference": repr(row.size),
                    }
                )
                for row in report.worst
            ]
        ),
    }
