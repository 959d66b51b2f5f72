"""Who the users are, and what they did by day and by month."""

from churn_assets.contracts import Column, Reads, Table, WriteMode
from churn_assets.tables.columns import AMOUNT, EVENT_DATE, SOURCE_USER_ID, USER_ID
from churn_assets.tables.events import EVENTS

# Changes of users, who have no date: days on which another number of users is new, and active days of users
# whose first day has changed.
ARRIVALS = "arrivals"

OTHER_AGES = "other_ages"

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
