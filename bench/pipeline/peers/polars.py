"""The pipeline in Polars: lazy frames on its streaming engine, Delta tables by delta-rs."""

import datetime as dt
from collections.abc import Iterator

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from bench.pipeline.job import ACTIVITY, BRONZE, FEATURES, QUARANTINE, SILVER, USERS, Job, Stages

FIELDS = pl.Struct(
    {
        "event_id": pl.String,
        "user_id": pl.Int64,
        "event_ts": pl.String,
        "event_type": pl.String,
        "country": pl.String,
        "amount": pl.Float64,
    }
)
# One line that is no JSON fails json_decode as a whole, so what goes into it is told before.
VALUE = r'(?:"[^"\\]*"|-?[0-9.]+|true|false|null)'
FLAT_OBJECT = rf'^\{{"\w+": ?{VALUE}(?:, ?"\w+": ?{VALUE})*\}}$'
EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

MONEY = pl.Decimal(28, 2)
# Features are worked out for so many user-days at a time.
DAYS_AT_ONCE = 2_000_000


def stages(job: Job) -> Stages:
    """What does each stage."""
    return {
        "bronze": lambda: bronze(job),
        "silver": lambda: silver(job),
        "users": lambda: users(job),
        "activity": lambda: activity(job),
        "features": lambda: features(job),
    }


def bronze(job: Job) -> None:
    """Every line as it landed, with its file and the moment."""
    now = dt.datetime.now(dt.UTC)
    lines = pl.scan_lines(job.files(), name="_raw", include_file_paths="_source_file").with_columns(
        pl.lit(now).alias("_ingested_at"), pl.lit(now.date()).alias("_processing_date")
    )
    lines.sink_delta(
        job.path(BRONZE), mode="append", delta_write_options={"partition_by": ["_processing_date"]}
    )


def silver(job: Job) -> None:
    """New events, one an event_id, and the lines that are none."""
    rows = typed(pl.scan_delta(job.path(BRONZE))).collect(engine="streaming")
    write_deltalake(
        job.path(QUARANTINE),
        rows.filter(pl.col("reason").is_not_null()).select(
            "reason", "event_id", "_raw", "_source_file", "_ingested_at"
        ),
        mode="append",
    )
    events = rows.lazy().filter(pl.col("reason").is_null()).unique("event_id", keep="first")
    if DeltaTable.is_deltatable(job.path(SILVER)):
        known = pl.scan_delta(job.path(SILVER)).select("event_id")
        events = events.join(known, on="event_id", how="anti")
    events.drop("reason", "_raw", "_source_file").with_columns(
        pl.col("event_ts").dt.date().alias("event_date")
    ).sink_delta(job.path(SILVER), mode="append", delta_write_options={"partition_by": ["event_date"]})


def typed(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Each line's fields, or the reason why it is no event; the line itself only with a reason."""
    is_object = pl.col("_raw").str.contains(FLAT_OBJECT)
    text = pl.when(is_object).then("_raw").alias("fields")
    fields = lines.with_columns(text.str.json_decode(FIELDS)).unnest("fields")
    moment = pl.col("event_ts").str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.fZ", strict=False, time_unit="us", time_zone="UTC"
    )
    judged = fields.with_columns(moment, pl.col("amount").round(2).cast(MONEY)).with_columns(
        pl.when(pl.col("_raw").str.contains(FLAT_OBJECT).not_())
        .then(pl.lit("corrupt"))
        .when(pl.col("event_id").fill_null("") == "")
        .then(pl.lit("missing_event_id"))
        .when(pl.col("user_id").is_null())
        .then(pl.lit("missing_user_id"))
        .when(pl.col("event_ts").is_null())
        .then(pl.lit("bad_event_ts"))
        .when(pl.col("event_ts") < EARLIEST)
        .then(pl.lit("implausible_event_ts"))
        .when(pl.col("event_ts") > pl.col("_ingested_at") + dt.timedelta(hours=1))
        .then(pl.lit("future_event_ts"))
        .alias("reason")
    )
    kept = pl.col("reason").is_not_null()
    return judged.with_columns(pl.when(kept).then("_raw"), pl.when(kept).then("_source_file")).drop(
        "_processing_date"
    )


def users(job: Job) -> None:
    """Each user's first and last day and latest country."""
    events = pl.scan_delta(job.path(SILVER))
    placed = pl.when(pl.col("country") != "").then("country")
    # A user has few countries: the sort sees a row or two a user.
    per_country = events.group_by("user_id", placed.alias("country")).agg(
        pl.col("event_date").min().alias("first_seen_date"),
        pl.col("event_date").max().alias("last_seen_date"),
        pl.col("event_ts").max(),
    )
    found = (
        per_country.sort("event_ts")
        .group_by("user_id")
        .agg(
            pl.col("first_seen_date").min(),
            pl.col("last_seen_date").max(),
            pl.col("country").drop_nulls().last(),
        )
    )
    found.sink_delta(job.path(USERS), mode="overwrite")


def activity(job: Job) -> None:
    """What each user did on each day."""
    amount = pl.col("amount")
    days = (
        pl.scan_delta(job.path(SILVER))
        .group_by("user_id", "event_date")
        .agg(
            pl.len().cast(pl.Int64).alias("events"),
            (pl.col("event_type") == "purchase").sum().cast(pl.Int64).alias("purchases"),
            pl.when(amount.count() > 0).then(amount.sum()).alias("amount"),
        )
    )
    days.sink_delta(
        job.path(ACTIVITY), mode="overwrite", delta_write_options={"partition_by": ["event_date"]}
    )


def features(job: Job) -> None:
    """What was known of each user at the end of each date, for some users at a time."""
    days = pl.scan_delta(job.path(ACTIVITY))
    parts = days.select(pl.len()).collect().item() // DAYS_AT_ONCE + 1

    def batches() -> Iterator[pa.RecordBatch]:
        for part in range(parts):
            some = days.filter(pl.col("user_id") % parts == part).collect(engine="streaming")
            found = user_features(some, *job.dates).to_arrow(compat_level=pl.CompatLevel.oldest())
            yield from found.to_batches()

    first = user_features(days.head(1).collect(), *job.dates).to_arrow(compat_level=pl.CompatLevel.oldest())
    write_deltalake(
        job.path(FEATURES),
        pa.RecordBatchReader.from_batches(first.schema, batches()),
        mode="overwrite",
        partition_by=["feature_date"],
    )


def user_features(days: pl.DataFrame, first: dt.date, last: dt.date) -> pl.DataFrame:
    """A row a user and date: running sums up to it, less those up to where each window begins."""
    running = _running(days)
    reach = running.with_columns(
        pl.max_horizontal("day", pl.lit(first)).alias("since"),
        pl.min_horizontal(
            pl.col("day") + pl.duration(days=29),
            pl.col("day").shift(-1).over("user_id") - pl.duration(days=1),
            pl.lit(last),
        ).alias("until"),
    ).filter(pl.col("since") <= pl.col("until"))
    known = reach.with_columns(pl.date_ranges("since", "until").alias("feature_date")).explode("feature_date")
    for window in (7, 30, 90, 365):
        known = _with_before(known, running, window)
    return _columns(known).sort("feature_date", "user_id")


def _running(days: pl.DataFrame) -> pl.DataFrame:
    day = pl.col("event_date")
    gap = (day - day.shift().over("user_id")).dt.total_days()
    bought = pl.when(pl.col("purchases") > 0).then(day)
    return (
        days.sort("user_id", "event_date")
        .with_columns(gap.alias("gap"), (pl.col("amount").cast(pl.Float64) * 100).round().alias("cents"))
        .select(
            "user_id",
            day.alias("day"),
            day.first().over("user_id").alias("first_seen"),
            pl.col("events").cum_sum().over("user_id"),
            pl.col("purchases").cum_sum().over("user_id"),
            pl.col("cents").fill_null(0).cum_sum().over("user_id"),
            pl.col("cents").is_not_null().cast(pl.Int64).cum_sum().over("user_id").alias("with_amount"),
            pl.int_range(1, pl.len() + 1).over("user_id").alias("active_days"),
            (pl.col("gap").fill_null(0) ** 2).cum_sum().over("user_id").alias("gap_squares"),
            pl.col("gap").cum_max().forward_fill().over("user_id").alias("longest_gap"),
            bought.forward_fill().over("user_id").alias("last_purchase"),
        )
    )


def _with_before(known: pl.DataFrame, running: pl.DataFrame, window: int) -> pl.DataFrame:
    """Add the running sums of the user's last day before the window, 0 where there is none."""
    names = ("events", "purchases", "cents", "with_amount", "active_days")
    renamed = {name: f"{name}_before_{window}" for name in names}
    earlier = running.select("user_id", pl.col("day").alias("edge"), *names).rename(renamed)
    asked = known.with_columns((pl.col("feature_date") - pl.duration(days=window)).alias("edge"))
    joined = asked.join_asof(earlier, on="edge", by="user_id", check_sortedness=False)
    return joined.drop("edge").with_columns(pl.col(renamed.values()).fill_null(0))


def _columns(known: pl.DataFrame) -> pl.DataFrame:
    def within(name: str, window: int) -> pl.Expr:
        return pl.col(name) - pl.col(f"{name}_before_{window}")

    def since(day: str) -> pl.Expr:
        return (pl.col("feature_date") - pl.col(day)).dt.total_days()

    gaps = pl.col("active_days") - 1
    lifetime = (pl.col("day") - pl.col("first_seen")).dt.total_days()
    mean_gap = pl.when(gaps > 0).then(lifetime / gaps)
    spread = gaps * pl.col("gap_squares") - lifetime**2
    return known.select(
        "user_id",
        "feature_date",
        within("events", 30).alias("event_count_30d"),
        within("active_days", 30).alias("active_days_30d"),
        since("day").alias("days_since_last_event"),
        within("purchases", 30).alias("purchase_count_30d"),
        since("first_seen").alias("account_age_days"),
        within("events", 7).alias("rolling_7d_events"),
        within("active_days", 90).alias("active_days_90d"),
        within("active_days", 365).alias("active_days_365d"),
        pl.col("active_days").alias("active_days_total"),
        pl.col("events").alias("event_count_total"),
        pl.col("purchases").alias("purchase_count_total"),
        mean_gap.alias("mean_gap_days"),
        pl.when(gaps > 1).then((spread / (gaps * (gaps - 1))).sqrt()).alias("gap_std_days"),
        pl.col("longest_gap").cast(pl.Float64).alias("longest_gap_days"),
        (since("day") / mean_gap).alias("overdue_ratio"),
        since("last_purchase").alias("days_since_last_purchase"),
        pl.when(within("with_amount", 30) > 0).then(within("cents", 30) / 100).alias("amount_30d"),
        pl.when(pl.col("with_amount") > 0).then(pl.col("cents") / 100).alias("amount_total"),
    )
