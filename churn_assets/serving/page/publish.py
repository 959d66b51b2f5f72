"""Publishes what the page shows, from the newest list and the tables around it."""

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import ChurnError, one_line
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention.collected import overview
from churn_assets.retention.lists import computed_dates
from churn_assets.serving import shared_store, versions
from churn_assets.serving.endpoint import page_folder
from churn_assets.serving.page import build
from churn_assets.serving.page.store import FILE, MOST_EVENTS, NO_PREDICTION, PROBABILITY_UNITS, About, opened
from churn_assets.tables import (
    CHANGE_AFTER_DAYS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    CONTROL,
    RETENTION_LIST,
    TREATMENT_OUTCOMES,
    USER_DAILY_ACTIVITY,
    USERS,
    VALUE_WINDOW_DAYS,
)

# Of a user: each day of the last week, and one day of each of the twelve weeks before.
WEEKS = 12
# The days of which the value is, too.
ACTIVITY_DAYS = VALUE_WINDOW_DAYS

# A server of this machine that brings a version here is waited for so long.
FOLLOWING_SECONDS = 60

# So many rows are taken from the engine at once.
MOST_ROWS = 2_000_000


def publish_after_write(lake: Lakehouse) -> dict[str, Any]:
    """Publish, and return metadata about it; what fails is said and stops nothing."""
    try:
        about = publish(lake)
    except Exception as error:  # noqa: BLE001 - the list is written, and an engine raises errors of many kinds
        return {"page": f"not published: {one_line(error)}"}
    return {"page": "no list yet" if about is None else f"published, {about.contacts} contacts"}


def is_published(lake: Lakehouse) -> bool:
    """Return whether the page shows the newest list and outcomes; also where there is no list yet."""
    if not computed_dates(lake):
        return True
    if lake.settings.is_in_bucket:
        # What the bucket has is published, whichever machine made it. Whoever died before it had sent its own
        # has published nothing.
        if shared_store.current_in_bucket(lake.settings, shared_store.PAGE) is None:
            return False
        shared_store.follow(lake.settings, shared_store.PAGE, FOLLOWING_SECONDS)
    try:
        snapshot = opened(page_folder(lake.settings))
    except ChurnError:
        return False
    if snapshot is None:
        return False
    snapshot.close()
    return snapshot.about.source == _source(lake)


def publish(lake: Lakehouse) -> About | None:
    """Publish the newest list with its users, and the overview; None where there is no list yet."""
    dates = computed_dates(lake)
    if not dates:
        return None
    # Before the tables are read: what changes meanwhile is published the next time.
    source = _source(lake)
    content = _content(lake, dates[-1], source)
    version = f"{dates[-1]}-v{lake.version(RETENTION_LIST)}-{uuid.uuid4().hex[:12]}"

    def write(target: Path) -> None:
        build.build(content, target / FILE)

    with shared_store.publishing(lake.settings, shared_store.PAGE):
        versions.add(page_folder(lake.settings), version, write)
        if lake.settings.is_in_bucket:
            shared_store.share(lake.settings, version, shared_store.PAGE)
    return content.about


def _source(lake: Lakehouse) -> str:
    tables = (RETENTION_LIST, CHURN_REASONS, TREATMENT_OUTCOMES)
    return ", ".join(f"{table.name} {lake.version(table)}" for table in tables)


def _content(lake: Lakehouse, day: dt.date, source: str) -> build.Content:
    only = DateRange(day, day)
    scored = lake.read(CHURN_PREDICTIONS, only).select("user_id")
    known = lake.read(USERS).select(
        "user_id", "source_user_id", "country", "first_seen_date", "last_seen_date"
    )
    users = scored.join(known, "user_id", "left").toArrow().sort_by("user_id")
    user_ids = users["user_id"].to_numpy()
    listed = (
        lake.read(RETENTION_LIST, only)
        .join(known.select("user_id", "country"), "user_id", "left")
        .withColumn("is_new", _is_new(lake))
        .toArrow()
    )
    first_day = day - (ACTIVITY_DAYS - 1) * ONE_DAY
    dates = _probability_dates(lake, day)
    reasons = lake.read(CHURN_REASONS, only).select("user_id", "rank", "reason", "contribution").toArrow()
    control = listed["assigned_group"].to_pylist().count(CONTROL)
    about = About(
        overview=overview(lake, day),
        source=source,
        published_at=dt.datetime.now(dt.UTC),
        contacts=listed.num_rows - control,
        control=control,
        contact_cost=lake.settings.contact_cost,
        probability_dates=tuple(dates),
        first_activity_date=first_day,
        countries=tuple(sorted(set(listed["country"].to_pylist()), key=lambda name: name or "")),
    )
    return build.Content(
        about,
        listed,
        users,
        _probabilities(lake, user_ids, dates),
        _events(lake, user_ids, DateRange(first_day, day)),
        reasons,
    )


def _is_new(lake: Lakehouse) -> Column:
    """Whether a user was not at this risk a week before: in a lower band, or not known."""

    def band(probability: Column) -> Column:
        # As transforms.retention.Terms, by the rate of the row.
        cost, gain = F.lit(float(lake.settings.contact_cost)), F.col("save_rate") * lake.settings.saved_value
        medium = F.when(gain > 0, F.least(F.lit(1.0), cost / gain)).otherwise(1.0)
        high = (medium + 1.0) / 2.0
        return F.when(probability >= high, 2).when(probability >= medium, 1).otherwise(0)

    before = F.col("churn_probability") - F.col("probability_change")
    return before.isNull() | (band(before) < band(F.col("churn_probability")))


def _probability_dates(lake: Lakehouse, day: dt.date) -> list[dt.date]:
    wanted = [day - back * ONE_DAY for back in range(CHANGE_AFTER_DAYS)]
    wanted += [day - CHANGE_AFTER_DAYS * week * ONE_DAY for week in range(1, WEEKS + 1)]
    there = lake.partition_rows(CHURN_PREDICTIONS)
    return sorted(one for one in wanted if there.get(one))


def _probabilities(lake: Lakehouse, user_ids: np.ndarray, dates: Sequence[dt.date]) -> np.ndarray:
    found = np.full((len(user_ids), len(dates)), NO_PREDICTION, dtype=np.uint16)
    places = {date: place for place, date in enumerate(dates)}
    for some in _parts(dates, len(user_ids)):
        units = F.round(F.col("churn_probability") * PROBABILITY_UNITS).cast("int").alias("units")
        rows = lake.read(CHURN_PREDICTIONS).where(F.col("feature_date").isin(*some))
        taken = rows.select("user_id", "feature_date", units).toArrow()
        build.fill(found, taken, user_ids, places, "feature_date", "units")
    return found


def _events(lake: Lakehouse, user_ids: np.ndarray, days: DateRange) -> np.ndarray:
    dates = list(days.days())
    found = np.zeros((len(user_ids), len(dates)), dtype=np.uint16)
    places = {date: place for place, date in enumerate(dates)}
    for some in _parts(dates, len(user_ids)):
        rows = lake.read(USER_DAILY_ACTIVITY, DateRange(some[0], some[-1]))
        events = F.least(F.col("events"), F.lit(MOST_EVENTS)).cast("int").alias("events")
        taken = rows.select("user_id", "event_date", events).toArrow()
        build.fill(found, taken, user_ids, places, "event_date", "events")
    return found


def _parts(dates: Sequence[dt.date], users: int) -> Iterator[Sequence[dt.date]]:
    """Split dates so that all users on each of a part are no more rows than are taken at once."""
    size = max(1, MOST_ROWS // max(users, 1))
    for start in range(0, len(dates), size):
        yield dates[start : start + size]
