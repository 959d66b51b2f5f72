"""Rows that an older version imported, whose ids came from the file's name and the line's number.

The same rows would get other ids today, and count twice. They are recognised by their content, and left out.
"""

import re
from collections.abc import Callable, Collection

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.lakehouse.landing_lines import read_lines
from churn_assets.sample import event_values
from churn_assets.sample.event_ids import KeyCounts, with_content
from churn_assets.sample.landing_writer import LandingWriter
from churn_assets.transforms import values

# How an import names what it lands, now as then. An id of today has a dash and a number after its digest.
LANDED_NAME = re.compile(r"-[0-9a-f]{12}\.json\Z")
OLD_ID = r"\A[0-9a-f]{32}\z"
Bronze = Callable[[], DataFrame | None]

FIELDS = ("event_id", "user_id", "event_ts", "event_type", "country")


def held_rows(
    session: SparkSession,
    writer: LandingWriter,
    names: Collection[str],
    of_today: Collection[str],
    bronze: Bronze | None,
) -> KeyCounts:
    """Content that has landed under old ids, and how often: the most that one file has of it.

    Args:
        session: reads the lines.
        writer: knows the landing zone.
        names: files of the landing zone.
        of_today: files that are known to have ids of today, wherever they are.
        bronze: gives ``landing.events``, if there is one, which also knows files that are no longer in the
            landing zone.
    """
    imported = [name for name in names if LANDED_NAME.search(name) and name not in of_today]
    old = [name for name in imported if _has_old_ids(writer.first_line(name))]
    parts = []
    if old:
        lines = read_lines(session, writer.landing, old)
        landed = [F.get_json_object("line", f"$.{name}").alias(name) for name in FIELDS]
        parts.append(lines.select("_source_file", *landed))
    known = {*names, *of_today}
    if bronze and (rows := bronze()):
        gone = [row[0] for row in rows.select("_source_file").distinct().collect()]
        gone = [name for name in gone if LANDED_NAME.search(name) and name not in known]
        if gone:
            few = rows.join(
                session.createDataFrame([(name,) for name in gone], "_source_file string"), "_source_file"
            )
            parts.append(few.select("_source_file", *FIELDS))
    held = KeyCounts()
    for part in parts:
        contents = _counted(part.where(F.col("event_id").rlike(OLD_ID))).toArrow()
        more = contents["most"].to_numpy() - held.counts(contents["content_key"].to_numpy())
        held.add(contents["content_key"].to_numpy(), np.maximum(more, 0))
    return held


def _counted(rows: DataFrame) -> DataFrame:
    kind = rows.schema["event_ts"].dataType
    micros = event_values.micros(F.col("event_ts"), kind)
    events = rows.select(
        "_source_file",
        values.user_id(F.col("user_id")).alias("user_id"),
        micros.alias("event_ts_micros"),
        F.when(micros.isNull(), F.col("event_ts")).alias("event_ts_text"),
        "event_type",
        "country",
    )
    of_file = with_content(events).groupBy("_source_file", "content_key").agg(F.count("*").alias("count"))
    return of_file.groupBy("content_key").agg(F.max("count").alias("most"))


def _has_old_ids(line: bytes) -> bool:
    return bool(re.search(rb'"event_id": ?"[0-9a-f]{32}"', line))
