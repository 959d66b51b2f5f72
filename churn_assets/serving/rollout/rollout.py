"""Deploys the Production version where it is not served yet, and compares the endpoint with the batch."""

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
from churn_assets.serving.contract import ENDPOINT_NAME
from churn_assets.serving.features.online_store import OnlineStore
from churn_assets.serving.rollout import parity
from churn_assets.serving.rollout.clients import EndpointLocation
from churn_assets.serving.rollout.deploy import Deployment, Progress, deploy
from churn_assets.serving.rollout.endpoint_errors import in_one_line
from churn_assets.serving.rollout.parity_report import ParityReport
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES


class RollOut(NamedTuple):
    """``deployment`` is None where the endpoint was only compared; ``server`` says what answered."""

    deployment: Deployment | None
    report: ParityReport
    server: str
    url: str


def production(lake: Lakehouse) -> str:
    """The number of the Production version.

    Raises:
        ModelError: there is none.
    """
    quieten()
    version = registry.production_version(lake.settings)
    if version is None:
        raise ModelError(
            "No Production model is registered, so there is nothing to serve. Materialise "
            "churn_prediction_model first; it takes 10,000 labelled rows."
        )
    # Only now: it makes a registry where there is none.
    registry.configure(lake.settings)
    return str(version.version)


def roll_out(  # noqa: PLR0913 - what to deploy where, and whom to ask for
    lake: Lakehouse,
    location: EndpointLocation,
    progress: Progress,
    *,
    deploys: bool,
    users: int,
    seed: int,
    timeout: float,
) -> RollOut:
    """Deploy, if asked to, and compare a sample of the last feature_date's users.

    Args:
        lake: predictions, features, and the settings of the registry.
        location: where the endpoint is.
        progress: told what happens.
        deploys: whether to put Production behind the endpoint first. A temporary server, which serves nothing
            yet, gets it in any case.
        users: how many to compare, at most.
        seed: which.
        timeout: seconds for the deployment.

    Raises:
        EndpointError: not deployed, not reachable, or there is nothing to compare with.
        ModelError: there is no Production model.
    """
    # First what may be missing: nothing is deployed that cannot be compared.
    version = production(lake)
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
    """Users of the last scored feature_date, with the features that they had when they were scored."""

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
    # Late events may have changed the features since, and the date waits to be scored again: not the
    # endpoint's fault. So the features are those that the scores came from.
    micros = predictions.agg(F.unix_micros(F.max("scored_at"))).collect()[0][0]
    columns = packaging.inputs(registry.model_uri(lake.settings, production))
    latest = lake.version(USER_FEATURES)
    version = lake.version_at(USER_FEATURES, dt.datetime.fromtimestamp(micros / 1e6, dt.UTC)) or latest
    features = lake.read(USER_FEATURES, last, version=None if version == latest else version)
    return _Sample(last.end, version, parity.sample(predictions, features, columns, users, seed))


def _compare(client: WorkspaceClient, online_folder: Path | None, sample: _Sample) -> ParityReport:
    online = OnlineStore(online_folder).snapshot() if online_folder else None
    # Published features of another date, or of a later version of it, have other scores.
    published = (online.feature_date, online.source_version) if online else None
    looks_up = published == (sample.feature_date, sample.features_version)
    with in_one_line(ENDPOINT_NAME, f"answer for users of {sample.feature_date}"):
        return parity.compare(parity.asking(client), sample.feature_date, sample.users, by_user_id=looks_up)
