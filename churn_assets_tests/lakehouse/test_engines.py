"""The embedded engine's session: what it does where a reply cannot be read, or nothing is asked for long."""

import subprocess
import sys
from typing import Any

import grpc
import pytest
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql import SparkSession

from churn_assets.lakehouse.engines import IDLE_SECONDS, UNREADABLE_REPLY

# A session of one second, asked again after four.
IDLE = """
import time
from churn_assets.lakehouse import engines
engines.IDLE_SECONDS = 1
session = engines.EmbeddedSail(catalogs=["main_catalog"]).spark_session
print(session.range(3).count())
time.sleep(4)
session.range(3).count()
"""


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


def test_a_session_is_forgotten_only_after_the_years_that_it_is_given() -> None:
    """By default it would be after 15 minutes, as in a long training, and the next step would fail."""
    idle = subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, check=False)

    assert idle.stdout == "3\n"
    assert "is not running" in idle.stderr
    assert IDLE_SECONDS > 365 * 86400
