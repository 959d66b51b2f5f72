"""Whom to contact, who was handed the list, who was contacted, and what that brought."""

from churn_assets.contracts import Column, Reads, Table, WriteMode
from churn_assets.tables.columns import FEATURE_DATE, MODEL_VERSION, SOURCE_USER_ID, USER_ID
from churn_assets.tables.features import FEATURE_COLUMNS, USER_FEATURES
from churn_assets.tables.predictions import CHURN_PREDICTIONS, CHURN_REASONS
from churn_assets.tables.users import USER_DAILY_ACTIVITY, USERS

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
            "churn_probability x save_rate x value - CHURN_CONTACT_COST, above 0; where there is an uplift, "
            "that x value - CHURN_CONTACT_COST; of control what a contact would gain.",
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
        Column(
            "uplift",
            "double",
            "By how much a contact lowers this user's probability of churn, at most churn_probability; null "
            "where the list is ranked by risk, as uplift is not known to earn more.",
            nullable=True,
            minimum=-1,
            maximum=1,
        ),
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
        "uplift": (
            CHURN_PREDICTIONS["churn_probability"],
            *(USER_FEATURES[name] for name in FEATURE_COLUMNS),
        ),
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
        Column(
            "uplift_gain",
            "double",
            "Of all: what lists ranked by uplift earn more than by risk, for each listed user, as the mean "
            "over all budgets, in the currency of value; measured on users listed later than those that "
            "uplift was learned from. Null for the reason in uplift_reason.",
            nullable=True,
        ),
        Column("uplift_gain_low", "double", "Lower end of its 95 % interval.", nullable=True),
        Column("uplift_gain_high", "double", "Upper end of its 95 % interval.", nullable=True),
        Column("uplift_reason", "string", "Of all: why there is no uplift_gain, in words.", nullable=True),
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
        "uplift_gain IS NULL OR uplift_reason IS NULL",
        "uplift_gain_low <= uplift_gain_high",
    ),
)
