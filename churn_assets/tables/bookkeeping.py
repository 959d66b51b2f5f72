"""What the platform keeps for itself: no assets."""

from churn_assets.contracts import Column, Table, WriteMode

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
