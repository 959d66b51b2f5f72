"""The contract of every table: DDL, column metadata, write checks and documentation all come from here."""

from churn_assets.contracts import Column, Table, WriteMode
from churn_assets.tables.bookkeeping import COMPUTED_DATES, FOUND_FILES
from churn_assets.tables.columns import (
    AMOUNT,
    EVENT_DATE,
    EVENT_ID,
    FEATURE_DATE,
    INGESTED_AT,
    MODEL_VERSION,
    PROCESSING_DATE,
    SOURCE_FILE,
    SOURCE_USER_ID,
    USER_ID,
)
from churn_assets.tables.events import (
    ERASED_LINE,
    ERASED_SOURCE,
    ERASED_USER_ID,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINE_REASONS,
    QUARANTINED_EVENTS,
)
from churn_assets.tables.features import (
    ACTIVE_DAYS,
    ALL_FEATURES,
    CHURN_LABELS,
    FEATURE_COLUMNS,
    FEATURE_WINDOW_DAYS,
    FEATURES,
    HISTORY,
    HISTORY_OF_ALL,
    LATEST_USER_FEATURES,
    TOO_FEW_DAYS,
    USER_FEATURES,
    WINDOW_FEATURES,
)
from churn_assets.tables.predictions import (
    BELOW_0,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    FEATURE_DRIFT,
    MODEL_PROMOTIONS,
    PREDICTION_OUTCOMES,
    SCORE,
    WITHOUT_A_VALUE,
)
from churn_assets.tables.retention import (
    CHANGE_AFTER_DAYS,
    CONTACT,
    CONTROL,
    DELIVERIES,
    OF_ALL,
    OUTCOME_DIMENSIONS,
    QUARANTINED_TREATMENTS,
    RETENTION_LIST,
    RISK_BANDS,
    TREATMENT_OUTCOMES,
    TREATMENT_REASONS,
    TREATMENTS,
    VALUE_WINDOW_DAYS,
)
from churn_assets.tables.users import (
    ARRIVALS,
    DAILY_SUMMARY,
    LONGEST_MONTH_DAYS,
    OTHER_AGES,
    USER_DAILY_ACTIVITY,
    USER_MONTHLY_ACTIVITY,
    USERS,
)

__all__ = [
    "ACTIVE_DAYS",
    "ALL_FEATURES",
    "ALL_TABLES",
    "AMOUNT",
    "ARRIVALS",
    "ASSET_TABLES",
    "BELOW_0",
    "CHANGE_AFTER_DAYS",
    "CHURN_LABELS",
    "CHURN_PREDICTIONS",
    "CHURN_REASONS",
    "COMPUTED_DATES",
    "CONTACT",
    "CONTACT_TABLES",
    "CONTROL",
    "DAILY_SUMMARY",
    "DATED",
    "DELIVERIES",
    "ERASED_LINE",
    "ERASED_SOURCE",
    "ERASED_USER_ID",
    "EVENTS",
    "EVENT_DATE",
    "EVENT_ID",
    "FEATURES",
    "FEATURE_COLUMNS",
    "FEATURE_DATE",
    "FEATURE_DRIFT",
    "FEATURE_WINDOW_DAYS",
    "FOUND_FILES",
    "GATED",
    "HISTORY",
    "HISTORY_OF_ALL",
    "INGESTED_AT",
    "LANDED_EVENTS",
    "LATEST_USER_FEATURES",
    "LONGEST_MONTH_DAYS",
    "MODEL_PROMOTIONS",
    "MODEL_VERSION",
    "OF_ALL",
    "OTHER_AGES",
    "OUTCOME_DIMENSIONS",
    "PREDICTION_OUTCOMES",
    "PROCESSING_DATE",
    "QUARANTINED_EVENTS",
    "QUARANTINED_TREATMENTS",
    "QUARANTINE_REASONS",
    "RETENTION_LIST",
    "RISK_BANDS",
    "SCORE",
    "SOURCE_FILE",
    "SOURCE_USER_ID",
    "TABLES",
    "TOO_FEW_DAYS",
    "TREATMENTS",
    "TREATMENT_OUTCOMES",
    "TREATMENT_REASONS",
    "USERS",
    "USER_DAILY_ACTIVITY",
    "USER_FEATURES",
    "USER_ID",
    "USER_MONTHLY_ACTIVITY",
    "VALUE_WINDOW_DAYS",
    "WINDOW_FEATURES",
    "WITHOUT_A_VALUE",
    "Column",
    "Table",
    "WriteMode",
]

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

# Only where somebody says whom they contacted: no run is expected to write these, and no day is due.
# No run owes these: people fill them, and one follows.
CONTACT_TABLES = (TREATMENTS, QUARANTINED_TREATMENTS, TREATMENT_OUTCOMES)

# Every table that is an asset.
ASSET_TABLES = (*TABLES, *CONTACT_TABLES)

# The model learns from these: readers of their dates wait until their checks have passed.
GATED = (USER_FEATURES, CHURN_LABELS)

# Computed date by date, in the order of the graph.
DATED = tuple(table for table in TABLES if table.reads)

# With those that the platform keeps for itself.
ALL_TABLES = (*ASSET_TABLES, COMPUTED_DATES, FOUND_FILES)
