"""A filter on a column that is computed once does not compute it again, on either engine."""

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.transforms.computed_once import computed_once


@pytest.fixture
def texts(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([("costly: 1",), ("2",), (None,)], "text string")


def costly() -> Column:
    return F.regexp_extract("text", "costly: ([0-9])", 1)


def times_computed(rows: DataFrame, capsys: pytest.CaptureFixture[str]) -> int:
    """How often the engine's plan holds the expression."""
    rows.explain()
    # The plan that is run is the last one, if there are several.
    return capsys.readouterr().out.rpartition("Plan")[2].count("costly: ")


def test_a_filter_computes_a_column_again(texts: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    rows = texts.select(costly().alias("number")).where("number = '1'")

    assert times_computed(rows, capsys) > 1


def test_and_one_that_is_computed_once_it_does_not(
    texts: DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = texts.select(computed_once(costly()).alias("number")).where("number = '1'")

    assert times_computed(rows, capsys) == 1


def test_the_values_are_those_of_the_column(texts: DataFrame) -> None:
    both = texts.select(costly().alias("plain"), computed_once(costly()).alias("once")).collect()

    assert [row["once"] for row in both] == [row["plain"] for row in both] == ["1", "", None]
