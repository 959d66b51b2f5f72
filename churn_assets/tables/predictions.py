"""What the model says of each user, why, how the scores drift, and what became of them."""

from churn_assets.contracts import Column, Reads, Table, WriteMode
from churn_assets.tables.columns import FEATURE_DATE, MODEL_VERSION, USER_ID
from churn_assets.tables.features import ALL_FEATURES, CHURN_LABELS, FEATURE_COLUMNS, USER_FEATURES

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
