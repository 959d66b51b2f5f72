"""The embedded engine's session: what it does where a reply cannot be read."""

from typing import Any

import grpc
import pytest
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql import SparkSession

from churn_assets.lakehouse.engines import UNREADABLE_REPLY


class Unreadable(grpc.RpcError):
    """As gRPC raises it: the reply came, and its bytes were no message."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INTERNAL

    def details(self) -> str:
        return UNREADABLE_REPLY

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def __str__(self) -> str:
        return UNREADABLE_REPLY


@pytest.fixture(autouse=True)
def _on_sail_only(deployment: str) -> None:
    if deployment != "local":
        pytest.skip("only Sail is asked over gRPC")


def unreadable(times: int, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on the next so many replies about a plan cannot be read; the questions are noted."""
    client: Any = spark.client
    ask, asked = client._stub.AnalyzePlan, []

    def answer(*args: Any, **kwargs: Any) -> Any:
        asked.append("asked")
        if len(asked) <= times:
            raise Unreadable
        return ask(*args, **kwargs)

    monkeypatch.setattr(client._stub, "AnalyzePlan", answer)
    return asked


def test_a_reply_that_cannot_be_read_is_asked_for_again(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = unreadable(1, spark, monkeypatch)

    assert spark.range(3).columns == ["id"]
    assert len(asked) == 2


def test_after_three_more_it_is_an_error(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = unreadable(9, spark, monkeypatch)

    with (
        pytest.warns(UserWarning, match="RETRIES_EXCEEDED"),
        pytest.raises(SparkConnectGrpcException, match=UNREADABLE_REPLY),
    ):
        _ = spark.range(3).columns
    assert len(asked) == 4
