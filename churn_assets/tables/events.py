"""Bronze, and what Silver makes of its lines: events, and lines that are none."""

from churn_assets.contracts import Column, Table, WriteMode
from churn_assets.tables.columns import (
    EVENT_ID,
    INGESTED_AT,
    PROCESSING_DATE,
    SOURCE_FILE,
    SOURCE_USER_ID,
    USER_ID,
)

LANDED_EVENTS = Table(
    "raw_catalog",
    "landing",
    "events",
    "Bronze: every line that landed, as it landed. Append-only; nothing is rejected.",
    (
        Column("event_id", "string", "Field event_id as landed, as text.", nullable=True),
        Column("user_id", "string", "Field user_id as landed, as text.", nullable=True),
        Column("event_ts", "string", "Field event_ts as landed, as text.", nullable=True),
        Column("event_type", "string", "Field event_type as landed, as text.", nullable=True),
        Column("country", "string", "Field country as landed, as text.", nullable=True),
        Column("_raw", "string", "The line itself; bytes that are not UTF-8 are replaced by U+FFFD."),
        Column(
            "_rescued_data", "string", "JSON object of the fields that are none of the seven.", nullable=True
        ),
        Column(
            "_corrupt_record",
            "string",
            "The line where it is no JSON object (RFC 8259), else null.",
            nullable=True,
        ),
        INGESTED_AT,
        SOURCE_FILE,
        PROCESSING_DATE,
        # Columns that came later stand last: older lakes gain them so.
        Column("source_user_id", "string", "Field source_user_id as landed, as text.", nullable=True),
        Column(
            "_clock_at",
            "timestamp",
            "What the clock said when Bronze took the line in, UTC: event times are judged by it. Null in "
            "rows from before this column, for which _ingested_at stands.",
            nullable=True,
        ),
        Column("amount", "string", "Field amount as landed, as text.", nullable=True),
    ),
    WriteMode.APPEND,
    partition_column="_processing_date",
    lines_column="_corrupt_record",
)

EVENTS = Table(
    "main_catalog",
    "clean",
    "events",
    "Silver: typed events, one row an event_id; the first that arrived stays.",
    (
        EVENT_ID,
        USER_ID,
        Column("event_ts", "timestamp", "When the event happened, UTC, microseconds."),
        Column("event_date", "date", "UTC day of event_ts."),
        Column("event_type", "string", "Kind of event, such as page_view or purchase.", nullable=True),
        Column("country", "string", "Country of the user at the event, as sent.", nullable=True),
        INGESTED_AT,
        SOURCE_USER_ID,
        Column(
            "amount",
            "decimal(18,2)",
            "What the event was worth, in its owner's currency, below 0 for what is given back; null where "
            "none was sent, or none that is a number.",
            nullable=True,
        ),
    ),
    WriteMode.MERGE_NEW,
    key=("event_id",),
    partition_column="event_date",
    lineage={
        "event_id": (LANDED_EVENTS["event_id"],),
        "user_id": (LANDED_EVENTS["user_id"],),
        "event_ts": (LANDED_EVENTS["event_ts"],),
        "event_date": (LANDED_EVENTS["event_ts"],),
        "event_type": (LANDED_EVENTS["event_type"],),
        "country": (LANDED_EVENTS["country"],),
        "_ingested_at": (LANDED_EVENTS["_ingested_at"],),
        "source_user_id": (LANDED_EVENTS["source_user_id"], LANDED_EVENTS["user_id"]),
        "amount": (LANDED_EVENTS["amount"],),
    },
)

QUARANTINE_REASONS = (
    "corrupt",
    "missing_event_id",
    "missing_user_id",
    "bad_user_id",
    "bad_event_ts",
    "implausible_event_ts",
    "future_event_ts",
    "conflicting_source_user_id",
    "conflicting_duplicate",
    "erased_user",
)

# All that is kept of a line of an erased user. It is no JSON: whatever reads lines takes it for corrupt.
ERASED_LINE = "[line of an erased user]"

# What an erased id is hashed with, so that user 7 is not whoever calls themselves "7" elsewhere.
ERASED_USER_ID, ERASED_SOURCE = "user_id:", "source_user_id:"

QUARANTINED_EVENTS = Table(
    "main_catalog",
    "clean",
    "quarantined_events",
    "Lines that could not become an event, each with the first reason that applies.",
    (
        Column(
            "reason",
            "string",
            f"Why: {', '.join(QUARANTINE_REASONS[:-1])} or {QUARANTINE_REASONS[-1]}.",
            allowed=QUARANTINE_REASONS,
        ),
        Column("event_id", "string", "Field event_id as landed.", nullable=True),
        Column("_raw", "string", "The line as it landed."),
        SOURCE_FILE,
        Column(
            "occurrence",
            "int",
            "1 for the first of identical lines of one file, 2 for the second, and so on.",
            minimum=1,
        ),
        INGESTED_AT,
        PROCESSING_DATE,
    ),
    WriteMode.MERGE_NEW,
    key=("_source_file", "_raw", "occurrence"),
    partition_column="_processing_date",
    lines_column="_raw",
    lineage={
        "reason": (
            LANDED_EVENTS["_corrupt_record"],
            LANDED_EVENTS["event_id"],
            LANDED_EVENTS["user_id"],
            LANDED_EVENTS["event_ts"],
            LANDED_EVENTS["_ingested_at"],
            LANDED_EVENTS["source_user_id"],
            LANDED_EVENTS["_clock_at"],
        ),
        "event_id": (LANDED_EVENTS["event_id"],),
        "_raw": (LANDED_EVENTS["_raw"],),
        "_source_file": (LANDED_EVENTS["_source_file"],),
        "occurrence": (
            LANDED_EVENTS["_raw"],
            LANDED_EVENTS["_source_file"],
        ),
        "_ingested_at": (LANDED_EVENTS["_ingested_at"],),
        "_processing_date": (LANDED_EVENTS["_processing_date"],),
    },
)
