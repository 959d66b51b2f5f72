"""Compares the endpoint's answers for a seeded sample of users with the batch."""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.errors import EndpointError
from churn_assets.serving.endpoint import (
    ENDPOINT_NAME,
    FEATURE_DATE_HEADER,
    SERVED_NAME_HEADER,
    VERSION_HEADER,
)
from churn_assets.serving.rollout.parity_report import Difference, ParityReport
from churn_assets.tables import CHURN_PREDICTIONS

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

ROWS_PER_REQUEST = 10


@dataclass(frozen=True)
class SampledUser:
    """A user's score in the batch, and the features that it was computed from; NULLs are None."""

    user_id: int
    churn_probability: float
    features: Mapping[str, float | None]


@dataclass(frozen=True)
class Answer:
    """One answer of the endpoint; the prediction for an unknown user is None.

    ``version`` is the model's, ``feature_date`` that of the features that were looked up; None if not sent.
    """

    predictions: list[float | None]
    version: str | None = None
    feature_date: str | None = None
    seconds: float = 0.0


# Sends records in the format ``dataframe_records``, and returns their answer.
Query = Callable[[list[dict[str, Any]]], Answer]


def sample(
    predictions: DataFrame, features: DataFrame, columns: Sequence[str], users: int, seed: int
) -> list[SampledUser]:
    """Sample users by a hash of their id and the seed: the same users on every engine.

    Args:
        predictions: ``gold.churn_predictions`` of one feature_date.
        features: ``gold.user_features`` of that date.
        columns: the features that the version was trained with.
        users: the largest number of users.
        seed: of the hash.

    Returns:
        The users in the order of their ids.

    Raises:
        EndpointError: a scored user has no features.
    """
    sampled = (
        predictions.select("user_id", "churn_probability")
        .withColumn("hash", F.xxhash64("user_id", F.lit(seed)))
        .orderBy("hash", "user_id")
        .limit(users)
    )
    rows = sampled.join(features.select("user_id", *columns), "user_id", "left").collect()
    if without_features := sorted(row["user_id"] for row in rows if row[columns[0]] is None):
        raise EndpointError(
            f"user_id {without_features[0]} has a score in {CHURN_PREDICTIONS} and no features of that date. "
            "Score the date again: materialise churn_predictions."
        )
    sampled_users = [
        SampledUser(row["user_id"], row["churn_probability"], {name: row[name] for name in columns})
        for row in rows
    ]
    return sorted(sampled_users, key=lambda user: user.user_id)


def endpoint_query(client: "WorkspaceClient") -> Query:
    """Return a query of the endpoint through the SDK's own connection, with its login and retries.

    ``serving_endpoints.query`` would drop the headers that name the version and the feature_date.
    """
    from databricks.sdk.errors.platform import NotFound

    headers = [VERSION_HEADER, FEATURE_DATE_HEADER, SERVED_NAME_HEADER]

    def query(records: list[dict[str, Any]]) -> Answer:
        started = time.perf_counter()
        try:
            response: Any = client.api_client.do(
                "POST",
                f"/serving-endpoints/{ENDPOINT_NAME}/invocations",
                headers={"Accept": "application/json", "Content-Type": "application/json"},
                body={"dataframe_records": records},
                response_headers=headers,
            )
        except NotFound:
            if "user_id" not in records[0]:
                raise
            return Answer([None] * len(records))  # all users are unknown
        served_name = response.get(SERVED_NAME_HEADER)
        return Answer(
            predictions=response["predictions"],
            version=response.get(VERSION_HEADER) or (served_name and served_name.rpartition("-")[2]),
            feature_date=response.get(FEATURE_DATE_HEADER),
            seconds=time.perf_counter() - started,
        )

    return query


def compare(
    query: Query,
    feature_date: dt.date,
    users: Sequence[SampledUser],
    *,
    by_user_id: bool,
) -> ParityReport:
    """Compare the endpoint's predictions for these users with the batch's.

    Args:
        query: sends records to the endpoint, as ``endpoint_query`` does.
        feature_date: the date of the users' features and scores.
        users: the sampled users.
        by_user_id: whether to send user_ids alone, too; the online features must be of ``feature_date``.
    """
    differences: list[Difference] = []
    versions: set[str] = set()
    seconds: list[float] = []
    for asked_by in ("features", "user_id") if by_user_id else ("features",):
        for batch in _batches(users):
            answer = query([_record(user, asked_by) for user in batch])
            seconds.append(answer.seconds)
            versions |= {answer.version} if answer.version else set()
            differences += [
                Difference(user.user_id, asked_by, user.churn_probability, prediction)
                for user, prediction in zip(batch, answer.predictions, strict=True)
            ]
    return ParityReport(feature_date, differences, sorted(versions), seconds)


def _record(user: SampledUser, asked_by: str) -> dict[str, Any]:
    return {"user_id": user.user_id} if asked_by == "user_id" else dict(user.features)


def _batches(users: Sequence[SampledUser]) -> Iterator[Sequence[SampledUser]]:
    return (users[start : start + ROWS_PER_REQUEST] for start in range(0, len(users), ROWS_PER_REQUEST))
