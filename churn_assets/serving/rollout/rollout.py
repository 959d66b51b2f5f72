"""Deploys the Production version if it is not served yet, and compares the endpoint with the batch."""

import datetime as dt
from pathlib import Path
from typing import NamedTuple

from databricks.sdk import WorkspaceClient
from pyspark.sql import functions as F

from churn_assets.dates import DateRange
from churn_assets.errors import EndpointError, ModelError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.model.logged import packaging
from churn_assets.model.registry import registry
from churn_assets.model.registry.quiet import quieten
from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.serving.features.online_store import OnlineStore
from churn_assets.serving.rollout import parity
from churn_assets.serving.rollout.clients import EndpointLocation
from churn_assets.serving.rollout.deploy import Deployment, Progress, deploy
from churn_assets.serving.rollout.endpoint_errors import endpoint_errors
from churn_assets.serving.rollout.parity_report import ParityReport
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES


class RollOut(NamedTuple):
    """The result; ``deployment`` is None after a comparison alone, ``server`` describes the server."""

    deployment: Deployment | None
    report: ParityReport
    server: str
    url: str


def production_version(lake: Lakehouse) -> str:
    """Return the number of the Production version.

    Raises:
        ModelError: no version is in Production.
    """
    quieten()
    version = registry.production_version(lake.settings)
    if version is None:
        raise ModelError(
            "No Production model is registered, so there is nothing to serve. Materialise "
            "churn_prediction_model first; it takes 10,000 labelled rows."
        )
    # Only now, because it creates a missing registry.
    registry.configure(lake.settings)
    return str(version.version)


def roll_out(  # noqa: PLR0913 - the deployment, and the sample
    lake: Lakehouse,
    location: EndpointLocation,
    progress: Progress,
    *,
    deploys: bool,
    users: int,
    seed: int,
    timeout: float,
) -> RollOut:
    """Deploy Production if asked to, and compare a sample of the last feature_date's users.

    Args:
        lake: predictions, features, and the settings of the registry.
        location: the endpoint of this deployment.
        progress: receives each change of state.
        deploys: whether to deploy Production first. A temporary server, which serves nothing yet, always gets
            it.
        users: the largest number of users to compare.
        seed: of the sample.
        timeout: seconds to wait for the deployment.

    Raises:
        EndpointError: the deployment failed, the endpoint is not reachable, or there are no predictions.
        ModelError: no version is in Production.
    """
    # The sample comes first, so that no version is deployed that cannot be compared.
    version = production_version(lake)
    sampled = _sample(lake, version, users, seed)
    with location.open() as endpoint:
        progress(f"server: {endpoint.server}")
        deployment = None
        if deploys or endpoint.is_temporary:
            name = registry.registered_model_name(lake.settings)
            deployment = deploy(endpoint.client, location.target(name, version), progress, timeout)
        report = _compare(endpoint.client, location.online_folder, sampled)
    return RollOut(deployment, report, endpoint.server, endpoint.url)


class _Sample(NamedTuple):
    """Users of the last scored feature_date, with the features that their scores were computed from."""

    feature_date: dt.date
    features_version: int
    users: list[parity.SampledUser]


def _sample(lake: Lakehouse, production: str, users: int, seed: int) -> _Sample:
    scored = [day for day, rows in lake.partition_rows(CHURN_PREDICTIONS).items() if rows]
    if not scored:
        raise EndpointError(
            f"{CHURN_PREDICTIONS} is empty, so the endpoint cannot be compared with it. Materialise it first."
        )
    last = DateRange(max(scored), max(scored))
    predictions = lake.read(CHURN_PREDICTIONS, last)
    # Late events may have changed the features since, before the date is scored again. The endpoint is
    # compared on the version of the features that the scores came from.
    micros = predictions.agg(F.unix_micros(F.max("scored_at"))).collect()[0][0]
    columns = packaging.inputs(registry.model_uri(lake.settings, production))
    latest = lake.version(USER_FEATURES)
    version = lake.version_at(USER_FEATURES, dt.datetime.fromtimestamp(micros / 1e6, dt.UTC)) or latest
    features = lake.read(USER_FEATURES, last, version=None if version == latest else version)
    return _Sample(last.end, version, parity.sample(predictions, features, columns, users, seed))


def _compare(client: WorkspaceClient, online_folder: Path | None, sample: _Sample) -> ParityReport:
    online = OnlineStore(online_folder).snapshot() if online_folder else None
    # The published features of another date, or of a later version, would have other scores.
    published = (online.feature_date, online.source_version) if online else None
    has_same_features = published == (sample.feature_date, sample.features_version)
    with endpoint_errors(ENDPOINT_NAME, f"answer for users of {sample.feature_date}"):
        return parity.compare(
            parity.endpoint_query(client), sample.feature_date, sample.users, by_user_id=has_same_features
        )
