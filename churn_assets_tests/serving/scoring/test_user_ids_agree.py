"""The endpoint and the landing zone read a user id by the same rule, though each in a language of its own."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn_assets.serving.scoring import cells
from churn_assets.transforms import values

TEXTS = [
    *("0", "7", "-5", "7.0", "17850.00", " 7 ", "\t7\n", "9223372036854775807", "-9223372036854775808"),
    *("0012", "007", "+7", "-0", "7.5", "9223372036854775808", "1e5", "12e4", "1e+05", "1.785E7", "1.5E0"),
    *("", " ", "abc", "x@example.org", "0x10", "1_000", "7.", "9007199254740993", "9.007199254740993E15"),
]


def test_the_endpoint_reads_an_id_as_the_landing_zone_does(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(text,) for text in TEXTS], "text string")
    landed = rows.select("text", values.user_id(F.col("text")).alias("user_id")).collect()

    assert {row["text"]: cells.parse_user_id(row["text"]) for row in landed} == {
        row["text"]: row["user_id"] for row in landed
    }
