"""Contacts as they are imported, and what became of those who were listed, as counts of users."""

import datetime as dt

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms import values
from churn_assets.transforms.parsing import utc_timestamp

CONTACT = "contact"


def judged_treatments(rows: DataFrame, users: DataFrame, ingested_at: dt.datetime) -> DataFrame:
    """Say of each row of one file which treatment it is, or why it is none.

    A ``user_id`` that is a whole number is that user; else, and where there is only a ``source_user_id``,
    the id as its owner knows it, or the number where nobody has such an id.

    Args:
        rows: user_id, source_user_id, treated_at, channel, cost (all string, null where the file has none),
            row_number (bigint) and _raw, _source_file (string).
        users: ``clean.users``.
        ingested_at: the clock, with time zone: what is later is in the future.

    Returns:
        The columns of ``tables.TREATMENTS``, with row_number, _raw and reason (string, null for a treatment).
    """
    number = values.user_id(F.col("user_id"))
    name = values.trimmed(F.coalesce(_filled("source_user_id"), F.col("user_id")))
    by_number = users.select(F.col("user_id").alias("number"), F.lit(True).alias("is_known"))
    # A name that its owner gave comes before a number that happens to be written alike.
    by_name = (
        users.groupBy(F.coalesce("source_user_id", F.col("user_id").cast("string")).alias("name"))
        .agg(
            F.min(F.when(F.col("source_user_id").isNotNull(), F.col("user_id"))).alias("given"),
            F.min("user_id").alias("any"),
        )
        .select("name", F.coalesce("given", "any").alias("named_id"))
    )
    judged = (
        rows.withColumn("number", number)
        .withColumn("name", name)
        .join(by_number, "number", "left")
        .join(by_name, "name", "left")
        .withColumn("treated", values.event_ts(F.col("treated_at")))
        .withColumn("how", F.lower(values.trimmed(F.col("channel"))))
        .withColumn("who", F.coalesce(F.when(F.col("is_known"), F.col("number")), F.col("named_id")))
    )
    # Of equal rows the first counts, whatever order an engine reads them in.
    same = Window.partitionBy("who", "treated", "how").orderBy("row_number")
    reason = (
        F.when(F.coalesce(F.col("name"), F.lit("")) == "", "missing_user")
        .when(F.col("who").isNull(), "unknown_user")
        .when(F.col("treated").isNull(), "bad_treated_at")
        .when(F.col("treated") > utc_timestamp(ingested_at), "future_treated_at")
        .when(F.coalesce(F.col("how"), F.lit("")) == "", "missing_channel")
        .when(F.row_number().over(same) > 1, "duplicate")
    )
    return judged.select(
        F.col("who").alias("user_id"),
        F.col("treated").alias("treated_at"),
        F.col("how").alias("channel"),
        values.amount(F.col("cost")).alias("cost"),
        "_source_file",
        utc_timestamp(ingested_at).alias("_ingested_at"),
        "row_number",
        "_raw",
        reason.alias("reason"),
    )


def _filled(column: str) -> Column:
    text = values.trimmed(F.col(column))
    return F.when(text != "", text)


def first_listings(listed: DataFrame) -> DataFrame:
    """Return the rows of ``gold.retention_list`` of the first date that lists each user.

    Later ones are no experiment of their own: who is still there to be listed again depends on the contacts
    before.
    """
    first = listed.groupBy("user_id").agg(F.min("feature_date").alias("feature_date"))
    return listed.join(first, ["user_id", "feature_date"])


def contacts(listed: DataFrame, treatments: DataFrame, horizon_days: int) -> DataFrame:
    """Put each treatment beside its user's first listing.

    Args:
        listed: ``gold.retention_list``.
        treatments: ``gold.treatments``.
        horizon_days: of the labels.

    Returns:
        user_id (bigint), feature_date (date, null for users who are on no list), channel (string),
        place (int): 1 for the user's first treatment from the day after the list to the end of the horizon,
        2 for the second, and so on; null outside.
    """
    first = first_listings(listed).select("user_id", "feature_date")
    days = F.datediff(F.to_date("treated_at"), F.col("feature_date"))
    beside = treatments.join(first, "user_id", "left").withColumn(
        "is_within", F.coalesce(days.between(1, horizon_days), F.lit(False))
    )
    in_order = Window.partitionBy("user_id", "is_within").orderBy("treated_at", "channel")
    return beside.select(
        "user_id",
        "feature_date",
        "channel",
        F.when(F.col("is_within"), F.row_number().over(in_order)).alias("place"),
    )


def treatment_counts(
    listed: DataFrame, treatments: DataFrame, labels: DataFrame, horizon_days: int
) -> DataFrame:
    """Count listed users by what was to happen to them, what did, and whether they churned.

    Each user counts once, on the first date that lists them, if that date has their label.

    Args:
        listed: ``gold.retention_list``.
        treatments: ``gold.treatments``.
        labels: ``gold.churn_labels``.
        horizon_days: of the labels.

    Returns:
        risk_band (string), month (string, such as 2026-03, of the list), is_contact (boolean: assigned to be
        contacted, else control), channel (string, of the first contact from the day after the list to the end
        of the horizon; null without one), churned (boolean), users (bigint), first_feature_date and
        last_feature_date (date).
    """
    first_contacts = contacts(listed, treatments, horizon_days).where(F.col("place") == 1)
    return (
        first_listings(listed)
        .select("user_id", "feature_date", "risk_band", "assigned_group")
        .join(labels.select("user_id", "feature_date", "label"), ["user_id", "feature_date"])
        .join(first_contacts.select("user_id", "channel"), "user_id", "left")
        .groupBy(
            "risk_band",
            F.substring(F.col("feature_date").cast("string"), 1, 7).alias("month"),
            (F.col("assigned_group") == F.lit(CONTACT)).alias("is_contact"),
            "channel",
            (F.col("label") == 1).alias("churned"),
        )
        .agg(
            F.count(F.lit(1)).alias("users"),
            F.min("feature_date").alias("first_feature_date"),
            F.max("feature_date").alias("last_feature_date"),
        )
    )


def assigned_users(listed: DataFrame, labels: DataFrame, features: DataFrame) -> DataFrame:
    """Return listed users with what was known of them, the lot, and whether they churned.

    Each user counts once, on the first date that lists them, if that date has their label.

    Args:
        listed: ``gold.retention_list``.
        labels: ``gold.churn_labels``.
        features: ``gold.user_features`` of the dates of the lists.

    Returns:
        user_id (bigint), feature_date (date), is_contact (boolean: assigned to be contacted, else control),
        churned (boolean), churn_probability and value (double, as the list has them), and the features that
        models are trained on (double).
    """
    known = features.select("user_id", "feature_date", *as_inputs())
    return (
        first_listings(listed)
        .select("user_id", "feature_date", "assigned_group", "churn_probability", "value")
        .join(labels.select("user_id", "feature_date", "label"), ["user_id", "feature_date"])
        .join(known, ["user_id", "feature_date"])
        .select(
            "user_id",
            "feature_date",
            (F.col("assigned_group") == F.lit(CONTACT)).alias("is_contact"),
            (F.col("label") == 1).alias("churned"),
            "churn_probability",
            "value",
            *tables.FEATURE_COLUMNS,
        )
    )


def as_inputs() -> list[Column]:
    """Return the features that models are trained on, as doubles."""
    return [F.col(name).cast("double").alias(name) for name in tables.FEATURE_COLUMNS]


def treatment_use(listed: DataFrame, treatments: DataFrame, horizon_days: int) -> DataFrame:
    """Count the treatments by what they are good for, in one row of bigint.

    Returns:
        treatments, treatments_not_listed, treatments_outside_horizon, treatments_repeated, as
        ``tables.TREATMENT_OUTCOMES`` has them.
    """
    is_listed, is_within = F.col("feature_date").isNotNull(), F.col("place").isNotNull()
    return contacts(listed, treatments, horizon_days).agg(
        F.count(F.lit(1)).alias("treatments"),
        F.count(F.when(~is_listed, 1)).alias("treatments_not_listed"),
        F.count(F.when(is_listed & ~is_within, 1)).alias("treatments_outside_horizon"),
        F.count(F.when(F.col("place") > 1, 1)).alias("treatments_repeated"),
    )
