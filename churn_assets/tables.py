"""The contract of every table: DDL, column metadata, write checks and documentation all come from here."""

from churn_assets.contracts import FROM_THE_START, Column, Phrase, Reads, Source, Table, WriteMode

EVENT_ID = Column("event_id", "string", "Identifier of the event, unique among events.")
USER_ID = Column("user_id", "bigint", "Identifier of the user.")
EVENT_DATE = Column("event_date", "date", "UTC day.")
FEATURE_DATE = Column("feature_date", "date", "UTC day at whose end the row's facts were known.")
INGESTED_AT = Column(
    "_ingested_at",
    "timestamp",
    "When Bronze took the line in, UTC; equal for one ingestion, rising between them even if a clock is not.",
)
SOURCE_FILE = Column("_source_file", "string", "File the line came from, relative to the landing zone.")
PROCESSING_DATE = Column("_processing_date", "date", "UTC day of _ingested_at.")
SOURCE_USER_ID = Column(
    "source_user_id",
    "string",
    "The user's id as its owner knows it, such as an e-mail, where user_id is a hash or number made from it.",
    nullable=True,
)

AMOUNT = Column(
    "amount",
    "decimal(28,2)",
    "Sum of the events' amounts, in their owner's currency; null where none of them has one.",
    nullable=True,
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

# Changes of users, who have no date: days on which another number of users is new, and active days of users
# whose first day has changed.
ARRIVALS = "arrivals"
OTHER_AGES = "other_ages"

# A feature_date D reads the days [D-29, D]; the first dates have fewer days behind them.
FEATURE_WINDOW_DAYS = 30

LONGEST_MONTH_DAYS = 31

USERS = Table(
    "main_catalog",
    "clean",
    "users",
    "Every user with at least one event.",
    (
        USER_ID,
        Column("first_seen_date", "date", "UTC day of the user's first event."),
        Column("last_seen_date", "date", "UTC day of the user's last event."),
        Column("country", "string", "Country of the user's latest event that has one.", nullable=True),
        SOURCE_USER_ID,
    ),
    WriteMode.REPLACE_ALL,
    key=("user_id",),
    rules=("first_seen_date <= last_seen_date",),
    lineage={
        "user_id": (EVENTS["user_id"],),
        "first_seen_date": (EVENTS["event_date"],),
        "last_seen_date": (EVENTS["event_date"],),
        "country": (
            EVENTS["country"],
            EVENTS["event_ts"],
        ),
        "source_user_id": (EVENTS["source_user_id"],),
    },
    headings=(ARRIVALS, OTHER_AGES),
)

USER_DAILY_ACTIVITY = Table(
    "main_catalog",
    "gold",
    "user_daily_activity",
    "What each user did on each UTC day with at least one event.",
    (
        USER_ID,
        EVENT_DATE,
        Column("events", "bigint", "Events of the user on the day, at least 1.", minimum=1),
        Column("purchases", "bigint", "Events of type purchase among them.", minimum=0),
        AMOUNT,
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "event_date"),
    partition_column="event_date",
    rules=("purchases <= events",),
    references=USERS,
    lineage={
        "user_id": (EVENTS["user_id"],),
        "event_date": (EVENTS["event_date"],),
        "events": (EVENTS["event_id"],),
        "purchases": (EVENTS["event_type"],),
        "amount": (EVENTS["amount"],),
    },
    reads=(Reads(EVENTS),),
)

DAILY_SUMMARY = Table(
    "main_catalog",
    "gold",
    "daily_summary",
    "One row for each UTC day with at least one event.",
    (
        EVENT_DATE,
        Column("events", "bigint", "Events of the day.", minimum=1),
        Column("active_users", "bigint", "Users with an event on the day.", minimum=1),
        Column("new_users", "bigint", "Users whose first event was on the day.", minimum=0),
        Column("purchases", "bigint", "Events of type purchase on the day.", minimum=0),
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("event_date",),
    partition_column="event_date",
    rules=("active_users <= events", "new_users <= active_users"),
    lineage={
        "event_date": (USER_DAILY_ACTIVITY["event_date"],),
        "events": (USER_DAILY_ACTIVITY["events"],),
        "active_users": (USER_DAILY_ACTIVITY["user_id"],),
        "new_users": (USERS["first_seen_date"],),
        "purchases": (USER_DAILY_ACTIVITY["purchases"],),
    },
    reads=(Reads(USER_DAILY_ACTIVITY), Reads(USERS, heading=ARRIVALS)),
)

USER_MONTHLY_ACTIVITY = Table(
    "main_catalog",
    "gold",
    "user_monthly_activity",
    "What each user did in each calendar month that is over, in the partition of its last day: what "
    "user_features reads of the past in place of the days.",
    (
        USER_ID,
        Column("month_end_date", "date", "Last UTC day of the month; on other dates there are no rows."),
        Column(
            "active_day_bits",
            "bigint",
            "The days with at least one event, a bit each: 1 for the first of the month, 2 for the second, 4 "
            "for the third, and so on.",
            minimum=1,
        ),
        Column("events", "bigint", "Events of the user in the month, at least 1.", minimum=1),
        Column("purchases", "bigint", "Events of type purchase among them.", minimum=0),
        Column(
            "last_purchase_date",
            "date",
            "Last UTC day of the month with a purchase; null without one.",
            nullable=True,
        ),
        AMOUNT,
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "month_end_date"),
    partition_column="month_end_date",
    rules=(
        "active_day_bits < 2147483648",
        "bit_count(active_day_bits) <= events",
        "purchases <= events",
        "month_end_date = last_day(month_end_date)",
        "last_purchase_date <= month_end_date",
        "(purchases > 0) = (last_purchase_date IS NOT NULL)",
    ),
    references=USERS,
    lineage={
        "user_id": (USER_DAILY_ACTIVITY["user_id"],),
        "month_end_date": (USER_DAILY_ACTIVITY["event_date"],),
        "active_day_bits": (USER_DAILY_ACTIVITY["event_date"],),
        "events": (USER_DAILY_ACTIVITY["events"],),
        "purchases": (USER_DAILY_ACTIVITY["purchases"],),
        "last_purchase_date": (USER_DAILY_ACTIVITY["event_date"], USER_DAILY_ACTIVITY["purchases"]),
        "amount": (USER_DAILY_ACTIVITY["amount"],),
    },
    reads=(Reads(USER_DAILY_ACTIVITY, whole_month=True),),
)

TOO_FEW_DAYS = "Active on too few days to tell a rhythm"


def _days_and_months(of_days: str, of_months: str) -> tuple[Source, ...]:
    return (USER_DAILY_ACTIVITY[of_days], USER_MONTHLY_ACTIVITY[of_months])


ACTIVE_DAYS = _days_and_months("event_date", "active_day_bits")


def _active_days_of(days: int) -> Phrase:
    few = f"Only {{n}} active day(s) in the last {days}"
    return Phrase(f"Active on {{n}} of the last {days} days", if_it_raises=few, raises_below=days // 2)


def _so_far(noun: str, few: int) -> Phrase:
    text = f"{{n}} {noun}(s) so far"
    return Phrase(text, zero=f"No {noun} so far", if_it_raises=f"Only {text}", raises_below=few)


def _amounts(period: str) -> Phrase:
    return Phrase(f"Amounts {period} add up to {{n}}", missing=f"No amount {period}", decimals=2)


FEATURES = (
    Column(
        "event_count_30d",
        "bigint",
        "Events in the 30 days up to and including feature_date.",
        minimum=1,
        trained=True,
        phrase=Phrase(
            "{n} event(s) in the last 30 days",
            if_it_raises="Only {n} event(s) in the last 30 days",
            raises_below=30,
        ),
        sources=(USER_DAILY_ACTIVITY["events"],),
    ),
    Column(
        "active_days_30d",
        "bigint",
        "Days with at least one event in those 30 days, 1 to 30.",
        minimum=1,
        maximum=30,
        trained=True,
        phrase=_active_days_of(30),
        sources=(USER_DAILY_ACTIVITY["event_date"],),
    ),
    Column(
        "days_since_last_event",
        "bigint",
        "Days from the last event to feature_date, 0 to 29.",
        minimum=0,
        maximum=29,
        trained=True,
        phrase=Phrase(
            "Active {n} day(s) ago",
            zero="Active today",
            one="Active yesterday",
            if_it_raises="No event for {n} day(s)",
        ),
        sources=(USER_DAILY_ACTIVITY["event_date"],),
    ),
    Column(
        "purchase_count_30d",
        "bigint",
        "Events of type purchase in those 30 days.",
        minimum=0,
        trained=True,
        phrase=Phrase(
            "{n} purchase(s) in the last 30 days",
            zero="No purchase in the last 30 days",
            if_it_raises="Only {n} purchase(s) in the last 30 days",
            raises_below=3,
        ),
        sources=(USER_DAILY_ACTIVITY["purchases"],),
    ),
    Column(
        "account_age_days",
        "bigint",
        "Days from the user's first event to feature_date.",
        minimum=0,
        grows=True,
        trained=True,
        phrase=Phrase(
            "User for {n} day(s)",
            zero="User since today",
            if_it_raises="User for only {n} day(s)",
            raises_below=30,
        ),
        sources=(USERS["first_seen_date"],),
    ),
    Column(
        "rolling_7d_events",
        "bigint",
        "Events in the 7 days up to and including feature_date.",
        minimum=0,
        trained=True,
        phrase=Phrase(
            "{n} event(s) in the last 7 days",
            zero="No event in the last 7 days",
            if_it_raises="Only {n} event(s) in the last 7 days",
            raises_below=7,
        ),
        sources=(USER_DAILY_ACTIVITY["events"],),
    ),
)

# What the 30 days cannot show, known at the end of feature_date as well. The log starts somewhere, and before
# that nothing is known of anybody: totals and the longest times grow with it, windows until it is as old as
# they are long, and so are no sign of drift.
HISTORY = (
    Column(
        "active_days_90d",
        "bigint",
        "Days with at least one event in the 90 days up to and including feature_date.",
        minimum=1,
        maximum=90,
        grows=True,
        trained=True,
        phrase=_active_days_of(90),
        sources=ACTIVE_DAYS,
    ),
    Column(
        "active_days_365d",
        "bigint",
        "Days with at least one event in the 365 days up to and including feature_date.",
        minimum=1,
        maximum=365,
        grows=True,
        phrase=_active_days_of(365),
        sources=ACTIVE_DAYS,
    ),
    Column(
        "active_days_total",
        "bigint",
        "Days with at least one event, of all up to feature_date.",
        minimum=1,
        grows=True,
        trained=True,
        phrase=_so_far("active day", few=10),
        sources=ACTIVE_DAYS,
    ),
    Column(
        "event_count_total",
        "bigint",
        "Events up to feature_date.",
        minimum=1,
        grows=True,
        trained=True,
        phrase=_so_far("event", few=30),
        sources=_days_and_months("events", "events"),
    ),
    Column(
        "purchase_count_total",
        "bigint",
        "Events of type purchase up to feature_date.",
        minimum=0,
        grows=True,
        trained=True,
        phrase=_so_far("purchase", few=3),
        sources=_days_and_months("purchases", "purchases"),
    ),
    Column(
        "mean_gap_days",
        "double",
        "Mean days from one active day to the next; null with fewer than two active days.",
        nullable=True,
        minimum=1,
        trained=True,
        phrase=Phrase("Active every {n} days on average", missing=TOO_FEW_DAYS, decimals=1),
        sources=ACTIVE_DAYS,
    ),
    Column(
        "gap_std_days",
        "double",
        "Standard deviation (of a sample) of the days from one active day to the next; null with fewer than "
        "three active days.",
        nullable=True,
        minimum=0,
        phrase=Phrase("Days between active days vary by {n}", missing=TOO_FEW_DAYS, decimals=1),
        sources=ACTIVE_DAYS,
    ),
    Column(
        "longest_gap_days",
        "double",
        "Most days from one active day to the next; null with fewer than two active days.",
        nullable=True,
        minimum=1,
        grows=True,
        trained=True,
        phrase=Phrase(
            "Longest time from one active day to the next: {n} days", missing=TOO_FEW_DAYS, decimals=1
        ),
        sources=ACTIVE_DAYS,
    ),
    Column(
        "overdue_ratio",
        "double",
        "days_since_last_event / mean_gap_days, above 1 where the silence is longer than is usual of the "
        "user; null with fewer than two active days.",
        nullable=True,
        minimum=0,
        trained=True,
        phrase=Phrase(
            "Silent for {n} times as long as usual",
            missing=TOO_FEW_DAYS,
            zero="Active today",
            below_one="Silent for less time than usual",
            decimals=1,
        ),
        sources=ACTIVE_DAYS,
    ),
    Column(
        "days_since_last_purchase",
        "bigint",
        "Days from the last event of type purchase to feature_date; null without one.",
        nullable=True,
        minimum=0,
        grows=True,
        trained=True,
        phrase=Phrase(
            "Bought {n} day(s) ago",
            missing="No purchase so far",
            zero="Bought today",
            one="Bought yesterday",
            if_it_raises="No purchase for {n} day(s)",
        ),
        sources=_days_and_months("purchases", "last_purchase_date"),
    ),
    Column(
        "amount_30d",
        "double",
        "Sum of the amounts of the events in the 30 days up to and including feature_date, in their owner's "
        "currency; null where none of them has one.",
        nullable=True,
        phrase=_amounts("in the last 30 days"),
        sources=(USER_DAILY_ACTIVITY["amount"],),
    ),
    Column(
        "amount_total",
        "double",
        "Sum of the amounts of all events up to feature_date, in their owner's currency; null where none of "
        "them has one.",
        nullable=True,
        grows=True,
        trained=True,
        phrase=_amounts("so far"),
        sources=_days_and_months("amount", "amount"),
    ),
)
ALL_FEATURES = (*FEATURES, *HISTORY)

# What every request to the endpoint must have: the article's six features, of the last 30 days.
WINDOW_FEATURES = [column.name for column in FEATURES]

# A model's inputs, and its endpoint's, in this order: those six, and the columns of HISTORY that help.
FEATURE_COLUMNS = [column.name for column in ALL_FEATURES if column.trained]

# Every user has values in all of these, so a row that lacks one has no history at all.
HISTORY_OF_ALL = [column.name for column in HISTORY if column.trained and not column.nullable]

USER_FEATURES = Table(
    "main_catalog",
    "gold",
    "user_features",
    "What was known at the end of feature_date of each user with an event in the 30 days up to it.",
    (USER_ID, FEATURE_DATE, *ALL_FEATURES),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "feature_date"),
    partition_column="feature_date",
    rules=(
        "active_days_30d <= event_count_30d",
        "purchase_count_30d <= event_count_30d",
        "rolling_7d_events <= event_count_30d",
        "days_since_last_event <= account_age_days",
        "active_days_30d <= active_days_90d",
        "active_days_90d <= active_days_365d",
        "active_days_365d <= active_days_total",
        "active_days_total <= event_count_total",
        "event_count_30d <= event_count_total",
        "purchase_count_30d <= purchase_count_total",
        "purchase_count_total <= event_count_total",
        "days_since_last_event <= days_since_last_purchase",
        "mean_gap_days <= longest_gap_days",
        "(active_days_total > 1) = (mean_gap_days IS NOT NULL)",
        "(active_days_total > 2) = (gap_std_days IS NOT NULL)",
        "(purchase_count_total > 0) = (days_since_last_purchase IS NOT NULL)",
    ),
    references=USERS,
    lineage={
        "user_id": (USER_DAILY_ACTIVITY["user_id"],),
        "feature_date": (USER_DAILY_ACTIVITY["event_date"],),
        **{feature.name: feature.sources for feature in ALL_FEATURES},
    },
    reads=(
        # The last 30 days, and what lies before them in their first month; before that, months.
        Reads(USER_DAILY_ACTIVITY, first=2 - FEATURE_WINDOW_DAYS - LONGEST_MONTH_DAYS),
        Reads(USER_MONTHLY_ACTIVITY, first=FROM_THE_START),
        Reads(USERS, first=1 - FEATURE_WINDOW_DAYS, heading=OTHER_AGES),
    ),
)

CHURN_LABELS = Table(
    "main_catalog",
    "gold",
    "churn_labels",
    "Whether each user of user_features stayed away for the horizon after feature_date, once it is over.",
    (
        USER_ID,
        FEATURE_DATE,
        Column(
            "label",
            "int",
            "1: no event that counts (CHURN_LABEL_EVENT_TYPES) in the horizon after feature_date (churned); "
            "0: at least one.",
            minimum=0,
            maximum=1,
        ),
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "feature_date"),
    partition_column="feature_date",
    references=USER_FEATURES,
    lineage={
        "user_id": (USER_FEATURES["user_id"],),
        "feature_date": (USER_FEATURES["feature_date"],),
        "label": (EVENTS["event_date"], EVENTS["event_type"]),
    },
    reads=(Reads(USER_FEATURES), Reads(EVENTS, first=1, last="horizon_days")),
    parameters=("horizon_days", "label_event_types", "label_min_active_share"),
)

MODEL_VERSION = Column(
    "model_version", "int", "Version of churn-prediction-model that scored the row.", minimum=1
)

CHURN_PREDICTIONS = Table(
    "main_catalog",
    "gold",
    "churn_predictions",
    "The Production model's answer for each user of user_features.",
    (
        USER_ID,
        FEATURE_DATE,
        Column(
            "churn_probability", "double", "Probability that the user churns, 0 to 1.", minimum=0, maximum=1
        ),
        Column("predicted_churn", "boolean", "Whether churn_probability is at least 0.5."),
        Column("scored_at", "timestamp", "When the row was scored, UTC."),
        MODEL_VERSION,
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "feature_date"),
    partition_column="feature_date",
    # A double: Sail makes a decimal of 0.5 and cannot compare NaN with it.
    rules=("predicted_churn = (churn_probability >= 0.5D)",),
    references=USER_FEATURES,
    lineage={
        "user_id": (USER_FEATURES["user_id"],),
        "feature_date": (USER_FEATURES["feature_date"],),
        "churn_probability": tuple(USER_FEATURES[name] for name in FEATURE_COLUMNS),
        "predicted_churn": tuple(USER_FEATURES[name] for name in FEATURE_COLUMNS),
        # From the registry, which is no table.
        "model_version": (),
    },
    reads=(Reads(USER_FEATURES),),
    keeps_past=True,
)

# Of these a reason may say that there is no value, or one below 0.
WITHOUT_A_VALUE = [column.name for column in ALL_FEATURES if column.nullable]
BELOW_0 = [column.name for column in ALL_FEATURES if column.minimum is None]

CHURN_REASONS = Table(
    "main_catalog",
    "gold",
    "churn_reasons",
    "Why each prediction is what it is: the three features that move it most, strongest first.",
    (
        USER_ID,
        FEATURE_DATE,
        Column(
            "rank", "int", "1 for the feature that moves the prediction most, to 3.", minimum=1, maximum=3
        ),
        Column("feature", "string", "Column of user_features.", allowed=tuple(FEATURE_COLUMNS)),
        Column("value", "double", "The user's value of it; null where the feature is.", nullable=True),
        Column(
            "contribution",
            "double",
            "What the feature adds to the log-odds of churn (SHAP value); above 0 it raises the probability.",
        ),
        Column("reason", "string", "The same for people."),
        MODEL_VERSION,
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "feature_date", "rank"),
    partition_column="feature_date",
    rules=(
        f"value IS NOT NULL OR feature IN ({', '.join(map(repr, WITHOUT_A_VALUE))})",
        f"value >= 0 OR feature IN ({', '.join(map(repr, BELOW_0))})",
    ),
    references=CHURN_PREDICTIONS,
    lineage={
        "user_id": (CHURN_PREDICTIONS["user_id"],),
        "feature_date": (CHURN_PREDICTIONS["feature_date"],),
        **{
            name: tuple(USER_FEATURES[feature] for feature in FEATURE_COLUMNS)
            for name in ("rank", "feature", "value", "contribution", "reason")
        },
        "model_version": (CHURN_PREDICTIONS["model_version"],),
    },
    reads=(Reads(CHURN_PREDICTIONS), Reads(USER_FEATURES, follows=False)),
)

SCORE = "churn_probability"

FEATURE_DRIFT = Table(
    "main_catalog",
    "gold",
    "feature_drift",
    "How far features and scores of a date are from those that the scoring model was trained and judged on.",
    (
        FEATURE_DATE,
        Column(
            "feature",
            "string",
            "Column of user_features, compared with the training rows, or churn_probability, compared with "
            "the holdout's.",
            allowed=(*FEATURE_COLUMNS, SCORE),
        ),
        Column("psi", "double", "Population stability index, 0 for equal distributions.", minimum=0),
        Column(
            "psi_by_chance",
            "double",
            "What an equal distribution stays below 999 times in 1,000 with so few users.",
            minimum=0,
        ),
        Column("users", "bigint", "Users of the date.", minimum=1),
        MODEL_VERSION,
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("feature_date", "feature"),
    partition_column="feature_date",
    lineage={
        "feature_date": (CHURN_PREDICTIONS["feature_date"],),
        "feature": (),
        **{
            name: (*(USER_FEATURES[feature] for feature in FEATURE_COLUMNS), CHURN_PREDICTIONS[SCORE])
            for name in ("psi", "psi_by_chance")
        },
        "users": (CHURN_PREDICTIONS["user_id"],),
        "model_version": (CHURN_PREDICTIONS["model_version"],),
    },
    reads=(Reads(CHURN_PREDICTIONS), Reads(USER_FEATURES, follows=False)),
)

CONTACT, CONTROL = "contact", "control"
RISK_BANDS = ("high", "medium", "low")

# The days, up to and including feature_date, whose amounts say what a user is worth.
VALUE_WINDOW_DAYS = 90
# The change of a probability is the one since so many days ago.
CHANGE_AFTER_DAYS = 7

RETENTION_LIST = Table(
    "main_catalog",
    "gold",
    "retention_list",
    "Whom to contact after feature_date, in the order of what that is expected to gain, as far as the budget "
    "goes, and beside them a control group that is not to be contacted and costs no budget. Nobody is in "
    "again within the pause, in either group. Budget, pause, control group and save rate are those of the "
    "settings when the list was made: a change of them makes no list of the past stale.",
    (
        USER_ID,
        FEATURE_DATE,
        SOURCE_USER_ID,
        Column(
            "rank",
            "int",
            "1 for the greatest expected gain of the date, and so on without a gap, over both groups; equal "
            "gains in the order of user_id.",
            minimum=1,
        ),
        Column(
            "assigned_group",
            "string",
            "contact: to be contacted; control: left alone, so that contacts can be compared with them, and "
            "not counted in the budget. Chosen by a hash of the user, so that each stays in one group.",
            allowed=(CONTACT, CONTROL),
        ),
        Column(
            "churn_probability", "double", "Probability that the user churns, 0 to 1.", minimum=0, maximum=1
        ),
        Column(
            "probability_change",
            "double",
            "churn_probability minus that of the prediction seven days earlier; null where there is none.",
            nullable=True,
            minimum=-1,
            maximum=1,
        ),
        Column(
            "risk_band",
            "string",
            "Of churn_probability, against the probability p from which on a contact of a user of "
            "CHURN_SAVED_VALUE pays: low below p, medium from p on, high from half-way between p and 1 on.",
            allowed=RISK_BANDS,
        ),
        Column(
            "value",
            "double",
            "What is lost with the user: the amounts of the 90 days up to feature_date, at least 0, where "
            "any event of these days has one, else CHURN_SAVED_VALUE.",
            minimum=0,
        ),
        Column(
            "expected_gain",
            "double",
            "churn_probability x save_rate x value - CHURN_CONTACT_COST, above 0; of control what a contact "
            "would gain.",
            minimum=0,
        ),
        Column(
            "save_rate",
            "double",
            "Share of contacted users who stay though they would have churned, as it was assumed or known "
            "when the list was made.",
            minimum=0,
            maximum=1,
        ),
        Column(
            "reason_1",
            "string",
            "What raises the user's risk most, for people; null for none.",
            nullable=True,
        ),
        Column("reason_2", "string", "The next of what raises it; null for none.", nullable=True),
        Column("reason_3", "string", "The third; null for none.", nullable=True),
        MODEL_VERSION,
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "feature_date"),
    partition_column="feature_date",
    # A double: Sail makes a decimal of 0.0.
    rules=(
        "expected_gain > 0D",
        "reason_1 IS NOT NULL OR reason_2 IS NULL",
        "reason_2 IS NOT NULL OR reason_3 IS NULL",
    ),
    references=CHURN_PREDICTIONS,
    lineage={
        **{
            name: (CHURN_PREDICTIONS[name],)
            for name in ("user_id", "feature_date", "churn_probability", "model_version")
        },
        "source_user_id": (USERS["source_user_id"],),
        "assigned_group": (CHURN_PREDICTIONS["user_id"],),
        **dict.fromkeys(("probability_change", "risk_band"), (CHURN_PREDICTIONS["churn_probability"],)),
        "value": (USER_DAILY_ACTIVITY["amount"],),
        **dict.fromkeys(
            ("rank", "expected_gain"), (CHURN_PREDICTIONS["churn_probability"], USER_DAILY_ACTIVITY["amount"])
        ),
        # From a setting, or from what contacts were measured to bring.
        "save_rate": (),
        **{
            f"reason_{place}": (
                CHURN_REASONS["reason"],
                USER_FEATURES["days_since_last_event"],
                USER_FEATURES["mean_gap_days"],
            )
            for place in (1, 2, 3)
        },
    },
    # Lists of other dates are read as well, for the pause; what is in them is never stale by it.
    reads=(
        Reads(CHURN_REASONS),
        Reads(CHURN_PREDICTIONS, first=-CHANGE_AFTER_DAYS),
        Reads(USER_FEATURES, follows=False),
        Reads(USER_DAILY_ACTIVITY, first=1 - VALUE_WINDOW_DAYS, follows=False),
    ),
    keeps_past=True,
    past_on_request=True,
)

PREDICTION_OUTCOMES = Table(
    "main_catalog",
    "gold",
    "prediction_outcomes",
    "What became of each prediction, once its label is there.",
    (
        USER_ID,
        FEATURE_DATE,
        Column(
            "churn_probability", "double", "Probability that was predicted, 0 to 1.", minimum=0, maximum=1
        ),
        Column("predicted_churn", "boolean", "Whether churn was predicted."),
        Column("label", "int", "1: the user churned; 0: stayed.", minimum=0, maximum=1),
        Column(
            "is_out_of_time",
            "boolean",
            "Whether feature_date lies after every horizon that the model's training labels looked at: only "
            "then does the outcome say how good the model is.",
        ),
        MODEL_VERSION,
        Column("scored_at", "timestamp", "When the row was scored, UTC."),
    ),
    WriteMode.REPLACE_PARTITIONS,
    key=("user_id", "feature_date"),
    partition_column="feature_date",
    references=CHURN_PREDICTIONS,
    lineage={
        **{
            name: (CHURN_PREDICTIONS[name],)
            for name in ("user_id", "feature_date", "churn_probability", "predicted_churn", "model_version")
        },
        "label": (CHURN_LABELS["label"],),
        "is_out_of_time": (CHURN_PREDICTIONS["feature_date"], CHURN_PREDICTIONS["model_version"]),
    },
    reads=(Reads(CHURN_PREDICTIONS), Reads(CHURN_LABELS)),
    parameters=("horizon_days", "label_event_types"),
)

MODEL_PROMOTIONS = Table(
    "main_catalog",
    "gold",
    "model_promotions",
    "Which model version was Production from when on, and why; one row a move of the alias.",
    (
        Column("promotion", "int", "1 for the first move, 2 for the next, and so on.", minimum=1),
        Column("version", "int", "Version of churn-prediction-model that became Production.", minimum=1),
        Column("previous_version", "int", "The one before it; null for the first.", nullable=True, minimum=1),
        Column("promoted_at", "timestamp", "When the alias moved, or was found moved, UTC."),
        Column(
            "cause",
            "string",
            "gate: it won a comparison; rollback: a person put the previous one back; other: somebody moved "
            "the alias in the registry.",
            allowed=("gate", "rollback", "other"),
        ),
        Column("reason", "string", "In one line."),
        Column("roc_auc", "double", "Of the version on its holdout.", nullable=True, minimum=0, maximum=1),
        Column("brier", "double", "Of the version on its holdout.", nullable=True, minimum=0, maximum=1),
    ),
    WriteMode.MERGE_NEW,
    key=("promotion",),
    lineage=dict.fromkeys(
        ("promotion", "version", "previous_version", "cause", "reason", "roc_auc", "brier"), ()
    ),
)

DELIVERIES = Table(
    "main_catalog",
    "gold",
    "deliveries",
    "What was done to hand lists of retention_list over: a row before each attempt, and one after it. A date "
    "that has any keeps its list.",
    (
        Column("delivery", "int", "1 for the first row, 2 for the next, and so on.", minimum=1),
        Column("feature_date", "date", "UTC day of the list."),
        Column(
            "target",
            "string",
            "webhook: CHURN_DELIVERY_WEBHOOK; folder: CHURN_DELIVERY_FOLDER.",
            allowed=("webhook", "folder"),
        ),
        Column(
            "status",
            "string",
            "sending: about to be sent, the last word only where a run died over it; delivered: taken by the "
            "target; failed: not taken, and tried again by the next run.",
            allowed=("sending", "delivered", "failed"),
        ),
        Column("rows", "bigint", "Users to contact in what was sent.", minimum=0),
        Column("digest", "string", "SHA-256 of the list as CSV, in hexadecimal."),
        Column("attempted_at", "timestamp", "When the row was written, UTC."),
        Column("delivered_at", "timestamp", "When the target took it, UTC; else null.", nullable=True),
        Column("reason", "string", "Why it was not taken, in one line; else null.", nullable=True),
    ),
    WriteMode.MERGE_NEW,
    key=("delivery",),
    rules=(
        "(status = 'delivered') = (delivered_at IS NOT NULL)",
        "(status = 'failed') = (reason IS NOT NULL)",
    ),
    lineage={
        "delivery": (),
        "feature_date": (RETENTION_LIST["feature_date"],),
        "target": (),
        "status": (),
        "rows": (RETENTION_LIST["user_id"],),
        "digest": tuple(RETENTION_LIST[column.name] for column in RETENTION_LIST.columns),
        "reason": (),
    },
)

TABLES = (
    LANDED_EVENTS,
    EVENTS,
    QUARANTINED_EVENTS,
    USERS,
    USER_DAILY_ACTIVITY,
    DAILY_SUMMARY,
    USER_MONTHLY_ACTIVITY,
    USER_FEATURES,
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    FEATURE_DRIFT,
    RETENTION_LIST,
    PREDICTION_OUTCOMES,
    MODEL_PROMOTIONS,
    DELIVERIES,
)

TREATMENTS = Table(
    "main_catalog",
    "gold",
    "treatments",
    "Who was contacted, when and how: rows of churn import --treatments. Append-only.",
    (
        USER_ID,
        Column("treated_at", "timestamp", "When the user was contacted, UTC."),
        Column("channel", "string", "How, such as email or phone: trimmed, in lower case."),
        Column(
            "cost",
            "decimal(18,2)",
            "What the contact cost, in the currency of the amounts; null where the file does not say.",
            nullable=True,
        ),
        Column("_source_file", "string", "Name of the file that said so first, without its folder."),
        Column("_ingested_at", "timestamp", "When it was imported, UTC."),
    ),
    WriteMode.MERGE_NEW,
    key=("user_id", "treated_at", "channel"),
    references=USERS,
    lineage=dict.fromkeys(("user_id", "treated_at", "channel", "cost", "_source_file"), ()),
)

TREATMENT_REASONS = (
    "missing_user",
    "unknown_user",
    "bad_treated_at",
    "future_treated_at",
    "missing_channel",
    "duplicate",
)

QUARANTINED_TREATMENTS = Table(
    "main_catalog",
    "gold",
    "quarantined_treatments",
    "Rows of imported treatments that are none, each with the first reason that applies.",
    (
        Column(
            "reason",
            "string",
            f"Why: {', '.join(TREATMENT_REASONS[:-1])} or {TREATMENT_REASONS[-1]} (within its file).",
            allowed=TREATMENT_REASONS,
        ),
        Column(
            "_raw",
            "string",
            "What the row says, as JSON: user_id, source_user_id, treated_at, channel, cost.",
        ),
        Column("_source_file", "string", "Name of the file, without its folder."),
        Column("row_number", "bigint", "Of the row in its file, 1 for the first below a header.", minimum=1),
        Column("_ingested_at", "timestamp", "When it was imported, UTC."),
    ),
    WriteMode.MERGE_NEW,
    key=("_source_file", "row_number", "_raw"),
    lines_column="_raw",
    lineage=dict.fromkeys(("reason", "_raw", "_source_file", "row_number"), ()),
)

OF_ALL = "all"
OUTCOME_DIMENSIONS = (OF_ALL, "risk_band", "channel", "month")


def _users_of(what: str) -> str:
    return f"Users {what}. Each user counts once, on the first date that lists them, once its label is known."


TREATMENT_OUTCOMES = Table(
    "main_catalog",
    "gold",
    "treatment_outcomes",
    "What contacting brought: churn of listed users that the lot gave to be contacted against the control "
    "group, with 95 % intervals; overall and by band, channel and month of the list.",
    (
        Column(
            "dimension",
            "string",
            "all, risk_band, channel or month. By channel is no experiment: who is contacted how is chosen.",
            allowed=OUTCOME_DIMENSIONS,
        ),
        Column("segment", "string", "The band, the channel or the month (2026-03); all for all."),
        Column("first_feature_date", "date", "First list that counts here.", nullable=True),
        Column("last_feature_date", "date", "Last list that counts here.", nullable=True),
        Column("contact_users", "bigint", _users_of("assigned to contact"), minimum=0),
        Column("contact_churners", "bigint", "Those of them who churned.", minimum=0),
        Column(
            "contacted_users",
            "bigint",
            "Those of contact_users who were contacted within the horizon after the list; by channel, whose "
            "first contact was by it.",
            minimum=0,
        ),
        Column("contacted_churners", "bigint", "Those of them who churned.", minimum=0),
        Column(
            "control_users",
            "bigint",
            _users_of("assigned to control")
            + " By channel, of the bands and months with 20 of either group.",
            minimum=0,
        ),
        Column("control_churners", "bigint", "Those of them who churned.", minimum=0),
        Column(
            "contacted_control_users",
            "bigint",
            "Those of control_users who were contacted nevertheless.",
            minimum=0,
        ),
        Column(
            "reached",
            "double",
            "Share contacted of contact_users, by any channel, less that of control_users: those whose "
            "contact the lot decided. Null without either.",
            nullable=True,
            minimum=-1,
            maximum=1,
        ),
        Column(
            "assigned_save_rate",
            "double",
            "1 - churn of contact_users / churn of control_users, contacted or not (intention to treat).",
            nullable=True,
            maximum=1,
        ),
        Column("assigned_save_rate_low", "double", "Lower end of its interval.", nullable=True),
        Column("assigned_save_rate_high", "double", "Upper end of its interval.", nullable=True, maximum=1),
        Column(
            "save_rate",
            "double",
            "Share of would-be churners that a contact saves, of those whose contact the lot decided "
            "(complier average causal effect). Null for the reason.",
            nullable=True,
            maximum=1,
        ),
        Column("save_rate_low", "double", "Lower end of its 95 % interval.", nullable=True),
        Column("save_rate_high", "double", "Upper end of its 95 % interval.", nullable=True, maximum=1),
        Column("reason", "string", "Why there is no save rate, in words.", nullable=True),
        Column("treatments", "bigint", "Of all: treatments that are known.", nullable=True, minimum=0),
        Column(
            "treatments_not_listed",
            "bigint",
            "Of all: those of users who are on no list.",
            nullable=True,
            minimum=0,
        ),
        Column(
            "treatments_outside_horizon",
            "bigint",
            "Of all: those of listed users before the day after their first list, or after its horizon.",
            nullable=True,
            minimum=0,
        ),
        Column(
            "treatments_repeated",
            "bigint",
            "Of all: those within the horizon after the user's first one there.",
            nullable=True,
            minimum=0,
        ),
        Column(
            "later_listings",
            "bigint",
            "Of all: rows of lists whose user had been listed before.",
            nullable=True,
            minimum=0,
        ),
    ),
    WriteMode.REPLACE_ALL,
    key=("dimension", "segment"),
    rules=(
        "contact_churners <= contact_users",
        "contacted_users <= contact_users",
        "control_churners <= control_users",
        "contacted_control_users <= control_users",
        "(save_rate IS NULL) = (reason IS NOT NULL)",
        "save_rate_low <= save_rate_high",
    ),
)

# Only where somebody says whom they contacted: no run is expected to write these, and no day is due.
# No run owes these: people fill them, and one follows.
CONTACT_TABLES = (TREATMENTS, QUARANTINED_TREATMENTS, TREATMENT_OUTCOMES)

# Every table that is an asset.
ASSET_TABLES = (*TABLES, *CONTACT_TABLES)

# The model learns from these: readers of their dates wait until their checks have passed.
GATED = (USER_FEATURES, CHURN_LABELS)

# Computed date by date, in the order of the graph.
DATED = tuple(table for table in TABLES if table.reads)

# No asset, and rows only while they wait. Its comment is for people who come across the table.
FOUND_FILES = Table(
    "main_catalog",
    "ops",
    "found_files",
    "Event files that a stream has found and Bronze may lack. They go once Bronze has them.",
    (
        Column("path", "string", "The file, as the engine names it.", nullable=True),
        Column("found_by", "string", "The one run of the stream that found it.", nullable=True),
    ),
    WriteMode.APPEND,
)

# No asset, but written by the writes of all others. Its comment is for people who come across the table.
COMPUTED_DATES = Table(
    "main_catalog",
    "ops",
    "computed_dates",
    "The ledger of dates: which date of which table was computed when, from what, by which code and "
    "parameters. What is stale is worked out from it; without it, everything is.",
    (
        Column(
            "table_name",
            "string",
            "Table by the names of the contracts; of users, with the kind of change: /arrivals, /other_ages.",
        ),
        Column("computed_date", "date", "The date; null in a table's own row.", nullable=True),
        Column("noted", "bigint", "Number of the note. Of a table and date only the last one counts."),
        Column("changed", "bigint", "Number of the note by which the date last changed."),
        Column("read", "bigint", "Number of the last note when the writer began to read."),
        Column("is_open", "boolean", "Whether a writer is at it, or died over it: not computed."),
        Column("rows", "bigint", "Rows of the date.", nullable=True),
        Column("delta_version", "bigint", "Delta version that the write left.", nullable=True),
        Column(
            "delta_commit",
            "string",
            "What tells this commit of this table from another with its version, as after a restore.",
            nullable=True,
        ),
        Column("code_version", "string", "code_version of the asset that computed it.", nullable=True),
        Column("parameters", "string", "Settings and model version behind the rows.", nullable=True),
        Column("blocked_by", "string", "Blocking checks that these rows fail.", nullable=True),
    ),
    WriteMode.MERGE_NEW,
    key=("table_name", "computed_date"),
)

# No asset of its own: asset online_user_features writes it on Databricks, where an online store copies it.
LATEST_USER_FEATURES = Table(
    "main_catalog",
    "gold",
    "latest_user_features",
    "The features of the last feature_date, one row a user: what the online store looks users up in.",
    (USER_ID, FEATURE_DATE, *(column for column in ALL_FEATURES if column.trained)),
    WriteMode.MIRROR,
    key=("user_id",),
)

# With those that the platform keeps for itself.
ALL_TABLES = (*ASSET_TABLES, COMPUTED_DATES, FOUND_FILES)
