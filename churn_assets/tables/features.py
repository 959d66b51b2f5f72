"""What is known of a user at the end of a day, and whether the user then churned."""

from churn_assets.contracts import FROM_THE_START, Column, Phrase, Reads, Source, Table, WriteMode
from churn_assets.tables.columns import FEATURE_DATE, USER_ID
from churn_assets.tables.events import EVENTS
from churn_assets.tables.users import (
    LONGEST_MONTH_DAYS,
    OTHER_AGES,
    USER_DAILY_ACTIVITY,
    USER_MONTHLY_ACTIVITY,
    USERS,
)

# A feature_date D reads the days [D-29, D]; the first dates have fewer days behind them.
FEATURE_WINDOW_DAYS = 30

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
