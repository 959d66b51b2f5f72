"""The pipeline in plain PySpark with Delta on two local cores, as tutorials for Databricks print it."""

import os
import shutil
import sys

from delta import DeltaTable, configure_spark_with_delta_pip
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from bench.pipeline.job import ACTIVITY, BRONZE, FEATURES, QUARANTINE, SILVER, USERS, Job, Stages
from churn_assets.contracts import Table

# As text, so that one bad field does not spoil its line; the last column takes lines that are no JSON.
SCHEMA = (
    "event_id STRING, user_id BIGINT, event_ts STRING, event_type STRING, country STRING, "
    "amount DECIMAL(18,2), _corrupt_record STRING"
)

# Spark's defaults are a cluster's.
CONFIG = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "8",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.driver.memory": "6g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def stages(job: Job) -> Stages:
    """What does each stage, in one session, which starts here."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.appName("churn").master("local[2]")
    for key, value in {**CONFIG, "spark.sql.warehouse.dir": str(job.lake / "spark-warehouse")}.items():
        builder = builder.config(key, value)
    spark = configure_spark_with_delta_pip(builder).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    for name in ("bronze", "silver", "gold"):
        spark.sql(f"CREATE DATABASE IF NOT EXISTS {name}")
    return {
        "bronze": lambda: bronze(spark, job),
        "silver": lambda: silver(spark, job),
        "users": lambda: users(spark, job),
        "activity": lambda: activity(spark, job),
        "features": lambda: features(spark, job),
    }


def bronze(spark: SparkSession, job: Job) -> None:
    """Every line's fields, or the line if it is no JSON, with its file and the moment."""
    landed = (
        spark.read.schema(SCHEMA)
        .option("mode", "PERMISSIVE")
        .option("columnNameOfCorruptRecord", "_corrupt_record")
        .json(str(job.landing))
        .withColumn("_source_file", F.input_file_name())
        .withColumn("_ingested_at", F.current_timestamp())
        .withColumn("_processing_date", F.current_date())
    )
    _save(landed, job, BRONZE, "bronze.events", "_processing_date", mode="append")


def silver(spark: SparkSession, job: Job) -> None:
    """Bad rows to the quarantine; of the others one an event_id, merged into what is there."""
    moment = F.col("event_ts").try_cast("timestamp")
    reason = (
        F.when(F.col("_corrupt_record").isNotNull(), "corrupt")
        .when(F.coalesce("event_id", F.lit("")) == "", "missing_event_id")
        .when(F.col("user_id").isNull(), "missing_user_id")
        .when(moment.isNull(), "bad_event_ts")
        .when(moment < F.lit("2000-01-01").cast("timestamp"), "implausible_event_ts")
        .when(moment > F.col("_ingested_at") + F.expr("INTERVAL 1 HOUR"), "future_event_ts")
    )
    rows = spark.table("bronze.events").withColumn("reason", reason)
    bad = rows.where(F.col("reason").isNotNull()).drop("_processing_date")
    _save(bad, job, QUARANTINE, "silver.quarantined_events", mode="append")

    events = (
        rows.where(F.col("reason").isNull())
        .withColumn("event_ts", moment)
        .withColumn("event_date", F.to_date("event_ts"))
        .select(
            "event_id",
            "user_id",
            "event_ts",
            "event_date",
            "event_type",
            "country",
            "amount",
            "_ingested_at",
        )
        .dropDuplicates(["event_id"])
    )
    (
        DeltaTable.createIfNotExists(spark)
        .tableName("silver.events")
        .addColumns(events.schema)
        .partitionedBy("event_date")
        .location(job.path(SILVER))
        .execute()
        .alias("t")
        .merge(events.alias("s"), "t.event_id = s.event_id")
        .whenNotMatchedInsertAll()
        .execute()
    )


def users(spark: SparkSession, job: Job) -> None:
    """Each user's first and last day and latest country."""
    latest = F.max_by("country", F.when(F.col("country") != "", F.col("event_ts")))
    found = (
        spark.table("silver.events")
        .groupBy("user_id")
        .agg(
            F.min("event_date").alias("first_seen_date"),
            F.max("event_date").alias("last_seen_date"),
            latest.alias("country"),
        )
    )
    _save(found, job, USERS, "silver.users")


def activity(spark: SparkSession, job: Job) -> None:
    """What each user did on each day."""
    days = (
        spark.table("silver.events")
        .groupBy("user_id", "event_date")
        .agg(
            F.count("*").alias("events"),
            F.count_if(F.col("event_type") == "purchase").alias("purchases"),
            F.sum("amount").alias("amount"),
        )
    )
    _save(days, job, ACTIVITY, "gold.user_daily_activity", "event_date")


def features(spark: SparkSession, job: Job) -> None:
    """What was known of each user at the end of each date."""
    first, last = job.dates
    dates = spark.sql(
        f"SELECT explode(sequence(DATE'{first}', DATE'{last}', INTERVAL 1 DAY)) AS feature_date"
    )
    found = user_features(
        spark.table("gold.user_daily_activity"),
        spark.table("silver.users").select("user_id", "first_seen_date"),
        dates,
    )
    _save(
        found,
        job,
        FEATURES,
        "gold.user_features",
        "feature_date",
        replaceWhere=f"feature_date >= '{first}' AND feature_date <= '{last}'",
    )
    shutil.rmtree(job.lake / "spark-warehouse", ignore_errors=True)


def user_features(activity: DataFrame, users: DataFrame, dates: DataFrame) -> DataFrame:
    """Join each date with all days up to it, and sum up each user."""
    of_user = Window.partitionBy("user_id").orderBy("event_date")
    days = activity.withColumn("gap", F.datediff("event_date", F.lag("event_date").over(of_user)))
    joined = days.join(F.broadcast(dates), F.col("event_date") <= F.col("feature_date"))
    ago = F.datediff("feature_date", "event_date")

    def within(window: int, column: Column) -> Column:
        return F.when(ago < window, column)

    one = F.lit(1)
    silent = F.datediff("feature_date", "last_day")
    summed = joined.groupBy("user_id", "feature_date").agg(
        F.sum(within(30, F.col("events"))).alias("event_count_30d"),
        F.count(within(30, one)).alias("active_days_30d"),
        F.max("event_date").alias("last_day"),
        F.sum(within(30, F.col("purchases"))).alias("purchase_count_30d"),
        F.coalesce(F.sum(within(7, F.col("events"))), F.lit(0).cast("bigint")).alias("rolling_7d_events"),
        F.count(within(90, one)).alias("active_days_90d"),
        F.count(within(365, one)).alias("active_days_365d"),
        F.count(one).alias("active_days_total"),
        F.sum("events").alias("event_count_total"),
        F.sum("purchases").alias("purchase_count_total"),
        F.avg("gap").alias("mean_gap_days"),
        F.stddev_samp("gap").alias("gap_std_days"),
        F.max("gap").cast("double").alias("longest_gap_days"),
        F.max(F.when(F.col("purchases") > 0, F.col("event_date"))).alias("last_purchase"),
        F.sum(within(30, F.col("amount"))).cast("double").alias("amount_30d"),
        F.sum("amount").cast("double").alias("amount_total"),
    )
    return (
        summed.where(F.col("event_count_30d") > 0)
        .join(users, "user_id")
        .withColumn("days_since_last_event", silent.cast("bigint"))
        .withColumn("account_age_days", F.datediff("feature_date", "first_seen_date").cast("bigint"))
        .withColumn("overdue_ratio", silent / F.col("mean_gap_days"))
        .withColumn("days_since_last_purchase", F.datediff("feature_date", "last_purchase").cast("bigint"))
        .select(*FEATURES.column_names)
    )


def _save(  # noqa: PLR0913, PLR0917 - what a table is saved by
    rows: DataFrame,
    job: Job,
    table: Table,
    name: str,
    partition: str = "",
    mode: str = "overwrite",
    **options: str,
) -> None:
    writer = rows.write.format("delta").mode(mode).option("path", job.path(table)).options(**options)
    (writer.partitionBy(partition) if partition else writer).saveAsTable(name)
