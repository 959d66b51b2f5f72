"""Columns that several tables have."""

from churn_assets.contracts import Column

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

MODEL_VERSION = Column(
    "model_version", "int", "Version of churn-prediction-model that scored the row.", minimum=1
)
