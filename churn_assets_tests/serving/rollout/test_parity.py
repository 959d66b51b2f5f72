"""The comparison, over HTTP to the bundled server and to the emulated Model Serving."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn_assets.errors import EndpointError
from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.serving.rollout.clients import BundledEndpoint
from churn_assets.serving.rollout.deploy import deploy
from churn_assets.serving.rollout.parity import Answer, Query, SampledUser, compare, endpoint_query, sample
from churn_assets.serving.rollout.parity_report import ParityReport
from churn_assets.serving.rollout.target import Target
from churn_assets.serving.rollout.temporary_server import RunningServer
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, FEATURE_COLUMNS, USER_FEATURES, WINDOW_FEATURES
from churn_assets_tests.rows import NOON, D, frame
from churn_assets_tests.serving.conftest import (
    FEATURE_DATE,
    GONE,
    PUBLISHED,
    RECORD,
    WITH_HISTORY,
    mlflow_answers,
    server_of,
)
from churn_assets_tests.workspace.emulator import Workspace

ONES = dict.fromkeys(WINDOW_FEATURES, 1)


def scored(spark: SparkSession, users: int):
    """Predictions and features of users 0, 1, 2 …, whose probability is a hundredth of their id."""
    ids = range(users)
    predictions = frame(spark, CHURN_PREDICTIONS, [(i, D, i / 100, i >= 50, NOON, 1) for i in ids])
    # Who came on one day has no gaps, and nobody has an amount.
    features = frame(spark, USER_FEATURES, [(i, D, i, 1, 2, 3, 4, 5) for i in ids])
    return predictions, features


def test_a_sampled_user_has_the_score_and_the_features_of_the_date(spark: SparkSession) -> None:
    predictions, features = scored(spark, 3)

    history = (1, 1, None, 3, None, None, None, 2, None)
    assert sample(predictions, features, FEATURE_COLUMNS, 5, seed=1) == [
        SampledUser(
            i,
            i / 100,
            {
                **dict(zip(FEATURE_COLUMNS, (i, 1, 2, 3, 4, 5, *history), strict=True)),
                "event_count_total": i,
            },
        )
        for i in range(3)
    ]


def test_a_version_from_before_a_feature_came_is_sent_its_own_features(spark: SparkSession) -> None:
    predictions, features = scored(spark, 1)
    more = features.withColumn("came_later", F.lit(None).cast("bigint"))

    (user,) = sample(predictions, more, FEATURE_COLUMNS[:2], 5, seed=1)

    assert user.features == dict(zip(FEATURE_COLUMNS[:2], (0, 1), strict=True))


def test_a_sample_is_the_same_on_every_engine_and_another_for_another_seed(spark: SparkSession) -> None:
    predictions, features = scored(spark, 40)

    def ids(seed: int, users: int = 4) -> list[int]:
        return [user.user_id for user in sample(predictions, features, FEATURE_COLUMNS, users, seed)]

    assert ids(seed=1) == [9, 13, 15, 16]
    assert ids(seed=2) == [4, 9, 13, 14]
    # More users are these and others.
    assert set(ids(seed=1)) < set(ids(seed=1, users=6))


def test_a_score_without_features_is_named(spark: SparkSession) -> None:
    predictions, features = scored(spark, 3)

    with pytest.raises(
        EndpointError, match=r"user_id 1 has a score in main_catalog\.gold\.churn_predictions and no"
    ):
        sample(predictions, features.where("user_id <> 1"), FEATURE_COLUMNS, 5, seed=1)


def users_scored_by(settings: Settings, version: str) -> list[SampledUser]:
    """Users 42 and 43, whose features are published, as a batch of that version scored them."""
    records = [dict(zip(FEATURE_COLUMNS, row, strict=True)) for row in PUBLISHED.values()]
    scores = mlflow_answers(settings, version, records)
    return [
        SampledUser(
            user, score, {name: None if math.isnan(value) else value for name, value in record.items()}
        )
        for user, score, record in zip(PUBLISHED, scores, records, strict=True)
    ]


@pytest.fixture
def ask(running: RunningServer) -> Query:
    """Asks a bundled server of version 1."""
    return endpoint_query(WorkspaceClient(host=running.url, token=running.token, auth_type="pat"))


def compared(query: Query, users: list[SampledUser], *, by_user_id: bool = True) -> ParityReport:
    return compare(query, FEATURE_DATE, users, by_user_id=by_user_id)


def test_the_bundled_server_agrees_with_the_batch_of_its_version_asked_both_ways(
    ask: Query, registered: Settings
) -> None:
    report = compared(ask, users_scored_by(registered, "1"))

    assert report.passed
    assert report.largest_difference <= 1e-9
    assert (report.users, report.asked_by, report.versions) == (2, ["features", "user_id"], ["1"])
    assert len(report.request_seconds) == 2
    assert report.p50_request_ms > 0
    assert report.description("1") == (
        f"{ENDPOINT_NAME} serves version 1, churn_predictions of {FEATURE_DATE} were scored by version 1; "
        f"2 users agree, largest difference {report.largest_difference:.2g}"
    )


def test_the_bundled_server_agrees_with_the_batch_of_a_version_of_histories_nulls_included(
    registered: Settings,
) -> None:
    users = users_scored_by(registered, WITH_HISTORY)
    assert None in users[1].features.values()
    with server_of(registered, WITH_HISTORY) as client:
        query = endpoint_query(WorkspaceClient(host=client.url, token=client.token, auth_type="pat"))

        report = compared(query, users)

    assert report.passed
    assert (report.asked_by, report.users) == (["features", "user_id"], 2)


def test_a_batch_of_another_version_fails_and_is_named_with_the_worst_user(
    ask: Query, registered: Settings
) -> None:
    ours, other = users_scored_by(registered, "1"), users_scored_by(registered, "3")
    by_hand = {
        one.user_id: abs(one.churn_probability - two.churn_probability)
        for one, two in zip(ours, other, strict=True)
    }
    worst = max(by_hand, key=lambda user: by_hand[user])

    report = compared(ask, other, by_user_id=False)

    assert not report.passed
    assert report.worst[0].user_id == worst
    assert report.largest_difference == pytest.approx(by_hand[worst], abs=1e-12)
    assert report.description("3") == (
        f"{ENDPOINT_NAME} serves version 1, churn_predictions of {FEATURE_DATE} were scored by version 3; "
        f"largest difference {by_hand[worst]:.2g} at user_id {worst}"
    )


@pytest.mark.parametrize(("shift", "passes"), [(0.5e-9, True), (2e-9, False)])
def test_a_billionth_is_the_limit(ask: Query, registered: Settings, shift: float, passes: bool) -> None:
    users = [
        SampledUser(user.user_id, user.churn_probability + shift, user.features)
        for user in users_scored_by(registered, "1")
    ]

    assert compared(ask, users).passed is passes


def test_a_user_of_whom_the_endpoint_knows_nothing_fails_the_comparison(
    ask: Query, registered: Settings
) -> None:
    stranger = SampledUser(77, 0.5, ONES)

    report = compared(ask, [*users_scored_by(registered, "1"), stranger])

    assert not report.passed
    assert report.missing == [77]
    assert (report.worst[0].user_id, report.worst[0].asked_by) == (77, "user_id")
    assert report.description("1").endswith("no answer for 1 users, such as user_id 77")


def test_strangers_alone_are_missing_too(ask: Query) -> None:
    strangers = [SampledUser(77, 0.5, ONES), SampledUser(78, 0.5, ONES)]

    assert compared(ask, strangers).missing == [77, 78]


def test_a_number_that_is_none_is_no_agreement() -> None:
    report = compared(lambda records: Answer([float("nan")] * len(records)), [SampledUser(1, 0.5, ONES)])

    assert not report.passed
    assert report.missing == [1]


def test_nobody_is_no_agreement() -> None:
    report = compared(lambda _: Answer([]), [])

    assert not report.passed
    assert report.description("1").endswith("nobody was compared, for there are no predictions.")


def test_every_user_is_asked_for_once_in_requests_of_ten() -> None:
    asked: list[int] = []

    def answer(records: list[dict]) -> Answer:
        asked.append(len(records))
        return Answer([record["event_count_30d"] / 100 for record in records])

    report = compared(
        answer, [SampledUser(i, i / 100, {**ONES, "event_count_30d": i}) for i in range(23)], by_user_id=False
    )

    assert asked == [10, 10, 3]
    assert report.passed
    assert report.users == 23


def test_two_versions_in_the_answers_are_both_named() -> None:
    versions = iter(["1", "2"])
    users = [SampledUser(i, 0.0, ONES) for i in range(11)]

    report = compared(lambda records: Answer([0.0] * len(records), next(versions)), users, by_user_id=False)

    assert report.description("2").startswith(f"{ENDPOINT_NAME} serves version 1 and 2, ")


@pytest.fixture
def model_serving(tmp_path: Path, registered: Settings) -> Iterator[WorkspaceClient]:
    """Databricks Model Serving of version 2."""
    with Workspace(tmp_path / "workspace") as workspace:
        workspace.serving.registry_uri = registered.mlflow_tracking_uri
        client = workspace.client()
        deploy(
            client,
            Target(ENDPOINT_NAME, "main_catalog.gold.churn-prediction-model", "2"),
            lambda _: None,
            timeout=20,
        )
        yield client
    assert workspace.violations == []


def test_model_serving_agrees_with_the_batch_of_its_version_and_with_no_other(
    model_serving: WorkspaceClient, registered: Settings
) -> None:
    query = endpoint_query(model_serving)

    same = compared(query, users_scored_by(registered, "2"), by_user_id=False)
    other = compared(query, users_scored_by(registered, "1"), by_user_id=False)

    assert same.passed
    assert same.versions == ["2"]
    assert not other.passed
    assert (
        f"serves version 2, churn_predictions of {FEATURE_DATE} were scored by version 1"
        in other.description("1")
    )


def test_model_serving_of_a_version_of_histories_agrees_nulls_included(
    model_serving: WorkspaceClient, registered: Settings
) -> None:
    target = Target(ENDPOINT_NAME, "main_catalog.gold.churn-prediction-model", WITH_HISTORY)
    deploy(model_serving, target, lambda _: None, timeout=20)
    users = users_scored_by(registered, WITH_HISTORY)
    query = endpoint_query(model_serving)

    # One alone has nothing but nulls in some columns.
    assert compared(query, users, by_user_id=False).passed
    assert compared(query, users[1:], by_user_id=False).passed


def test_the_sdks_own_query_gets_the_same_answer(
    model_serving: WorkspaceClient, registered: Settings
) -> None:
    records = [RECORD, GONE]

    answer = model_serving.serving_endpoints.query(ENDPOINT_NAME, dataframe_records=records)

    assert answer.predictions == pytest.approx(mlflow_answers(registered, "2", records), abs=1e-12)
    assert answer.served_model_name == "churn-prediction-model-2"


def test_where_no_server_runs_a_temporary_one_answers_and_says_so(lake: Settings) -> None:
    nowhere = lake.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})

    with BundledEndpoint(nowhere).open() as endpoint:
        assert endpoint.is_temporary
        assert endpoint.server == "temporary, none is running at http://127.0.0.1:9"
        deploy(
            endpoint.client,
            BundledEndpoint(nowhere).target("churn-prediction-model", "1"),
            lambda _: None,
            timeout=20,
        )
        assert compared(endpoint_query(endpoint.client), users_scored_by(lake, "1"), by_user_id=False).passed


def test_the_server_that_runs_is_used(lake: Settings, running: RunningServer) -> None:
    there = lake.model_copy(
        update={
            "endpoint_url": running.url,
            "endpoint_token": running.token,
            "endpoint_admin_token": running.admin_token,
        }
    )

    with BundledEndpoint(there).open() as endpoint:
        assert not endpoint.is_temporary
        assert endpoint.server == f"bundled, at {running.url}"
        assert endpoint.client.serving_endpoints.get(ENDPOINT_NAME).name == ENDPOINT_NAME


def test_something_else_at_the_address_is_named(lake: Settings, tmp_path: Path) -> None:
    with Workspace(tmp_path / "workspace") as workspace:
        there = lake.model_copy(update={"endpoint_url": workspace.url})
        with (
            pytest.raises(EndpointError, match=r"/ping answers 404, so it is no churn serve\. Set"),
            BundledEndpoint(there).open(),
        ):
            pass
