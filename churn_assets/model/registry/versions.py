"""Versions that have scored: the last day that their training looked at, and their metrics, from MLflow."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from churn_assets.dates import ONE_DAY
from churn_assets.model.data.churn_definition import ChurnDefinition
from churn_assets.model.registry import registry
from churn_assets.settings import Settings


class TrainedVersion(NamedTuple):
    """A version: the last day that its training labels looked at, its holdout metrics, its estimator."""

    version: int
    trained_until: dt.date
    holdout: Mapping[str, float]
    estimator: str


def trained_versions(settings: Settings, versions: Iterable[int]) -> dict[int, TrainedVersion]:
    """Read each version from MLflow, without those that were deleted or registered by something else."""
    wanted = sorted(set(versions))
    if not wanted:
        return {}
    registry.configure(settings)
    versions_read = ((version, _trained(settings, version)) for version in wanted)
    return {version: trained for version, trained in versions_read if trained}


def _trained(settings: Settings, version: int) -> TrainedVersion | None:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        registered = client.get_model_version(registry.registered_model_name(settings), str(version))
        run = client.get_run(registered.run_id or "")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    tags = run.data.tags
    definition = ChurnDefinition.from_tags(tags)
    if "train_dates" not in tags or definition is None:
        return None
    # "2026-01-01 to 2026-01-08", or one date alone.
    last = dt.date.fromisoformat(tags["train_dates"].rpartition(" to ")[2])
    return TrainedVersion(
        version,
        trained_until=last + definition.horizon_days * ONE_DAY,
        holdout=dict(run.data.metrics),
        estimator=run.data.params.get("estimator", "unknown"),
    )
