"""Asks the endpoint for a seeded sample of users, and compares with the batch."""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.errors import EndpointError
from churn_assets.serving.contract import (
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
    """A user's score of the batch, and the features that it was made from, None where one is NULL."""

    user_id: int
    churn_probability: float
    features: Mapping[str, float | None]


@dataclass(frozen=True)
class Answer:
    """One answer of the endpoint; a user of whom it knows nothing has None.

    ``version`` is the model's, ``feature_date`` that of features which were looked up; None where unsaid.
    """

    predictions: list[float | None]
    version: str | None = None
    feature_date: str | None = None
    seconds: float = 0.0


# Records as ``dataframe_records`` takes them, to their answer.
Query = Callable[[list[dict[str, Any]]], Answer]


def sample(
    predictions: DataFrame, features: DataFrame, columns: Sequence[str], users: int, seed: int
) -> list[SampledUser]:
    """Choose users by a hash of their id and the seed: the same ones on every engine.

    Args:
        predictions: ``gold.churn_predictions`` of one feature_date.
        features: ``gold.user_features`` of that date.
        columns: the features that the version was trained with.
        users: how many, at most.
        seed: another one chooses others.

    Returns:
        The users in the order of their ids.

    Raises:
        EndpointError: somebody was scored and has no features.
    """
    chosen = (
        predictions.select("user_id", "churn_probability")
        .withColumn("place", F.xxhash64("user_id", F.lit(seed)))
        .orderBy("place", "user_id")
        .limit(users)
    )
    known = features.select("user_id", *columns)
    rows = chosen.join(known, "user_id", "left").collect()
    if without := sorted(row["user_id"] for row in rows if row[columns[0]] is None):
        raise EndpointError(
            f"user_id {without[0]} has a score in {CHURN_PREDICTIONS} and no features of that date. "
            "Score the date again: materialise churn_predictions."
        )
    found = [
        SampledUser(row["user_id"], row["churn_probability"], {name: row[name] for name in columns})
        for row in rows
    ]
    return sorted(found, key=lambda user: user.user_id)


def asking(client: "WorkspaceClient") -> Query:
    """Questions to an endpoint, through the SDK's own connection: its login, its retries.

    Not ``serving_endpoints.query``, which drops the headers that name the version and the feature_date.
    """
    from databricks.sdk.errors.platform import NotFound

    headers = [VERSION_HEADER, FEATURE_DATE_HEADER, SERVED_NAME_HEADER]

    def ask(records: list[dict[str, Any]]) -> Answer:
        started = time.perf_counter()
        try:
            found: Any = client.api_client.do(
                "POST",
                f"/serving-endpoints/{ENDPOINT_NAME}/invocations",
                headers={"Accept": "application/json", "Content-Type": "application/json"},
                body={"dataframe_records": records},
                response_headers=headers,
            )
        except NotFound:
            if "user_id" not in records[0]:
                raise
            return Answer([None] * len(records))  # all of them are unknown
        served_name = found.get(SERVED_NAME_HEADER)
        return Answer(
            predictions=found["predictions"],
            version=found.get(VERSION_HEADER) or (served_name and served_name.rpartition("-")[2]),
            feature_date=found.get(FEATURE_DATE_HEADER),
            seconds=time.perf_counter() - started,
        )

    return ask


def compare(
    query: Query,
    feature_date: dt.date,
    users: Sequence[SampledUser],
    *,
    by_user_id: bool,
) -> ParityReport:
    """Ask the endpoint for these users and compare.

    Args:
        query: what ``asking`` returns.
        feature_date: of the users' features and scores.
        users: what ``sample`` chose.
        by_user_id: whether to ask by user_id alone, too; the endpoint's features must be of ``feature_date``.
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
