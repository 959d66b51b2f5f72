"""Whether two lakes hold the same: rows, and how many values each column has and what they add up to."""

import math
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from bench.pipeline.job import ACTIVITY, BRONZE, FEATURES, QUARANTINE, SILVER, USERS, location
from churn_assets.contracts import Column, Table

# What a peer's table must have in common with the platform's; of Bronze and the quarantine only the rows.
COMPARED: dict[Table, tuple[str, ...]] = {
    BRONZE: (),
    SILVER: ("event_id", "user_id", "event_ts", "event_date", "event_type", "country", "amount"),
    QUARANTINE: ("reason",),
    USERS: ("user_id", "first_seen_date", "last_seen_date", "country"),
    ACTIVITY: tuple(ACTIVITY.column_names),
    FEATURES: tuple(FEATURES.column_names),
}
# Doubles add up to other last digits in another order.
TOLERANCE = 1e-6

Totals = dict[str, Any]


def totals(lake: Path) -> Totals:
    """Of each compared table its rows, and of each column the values that are not null and their sum.

    Dates and times are added up as numbers, texts by their hashes.
    """
    found: Totals = {}
    for table, names in COMPARED.items():
        asked = ["count(*)"]
        labels = [f"{_name(table)}: rows"]
        for column in (column for column in table.columns if column.name in names):
            quoted = f'"{column.name}"'
            asked += [f"count({quoted})", f"sum({_number(column, quoted)})"]
            label = f"{_name(table)}.{column.name}"
            labels += [f"{label}: values", f"{label}: sum"]
        files = DeltaTable(str(location(lake, table))).file_uris()
        # Partition columns stand in the folders' names only.
        source = duckdb.connect().read_parquet(files, hive_partitioning=True, union_by_name=True)
        (row,) = source.aggregate(", ".join(asked)).fetchall()
        found |= dict(zip(labels, row, strict=True))
    return found


def differences(found: Totals, expected: Totals) -> list[str]:
    """What is not equal, in words."""
    return [
        f"{name} {found[name]} instead of {expected[name]}"
        for name in expected
        if not _are_equal(found[name], expected[name])
    ]


def _name(table: Table) -> str:
    return f"{table.schema}.{table.name}"


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one or 0, other or 0, rel_tol=TOLERANCE)
    return one == other


def _number(column: Column, quoted: str) -> str:
    match column.type:
        case "string":
            # NULL has a hash, too.
            return f"CASE WHEN {quoted} IS NOT NULL THEN hash({quoted}::VARCHAR)::HUGEINT END"
        case "date":
            return f"({quoted}::DATE - DATE '1970-01-01')::HUGEINT"
        case "timestamp":
            return f"epoch_us({quoted})::HUGEINT"
        case "double":
            return quoted
        case "bigint" | "int":
            return f"{quoted}::HUGEINT"
        case decimal:
            return f"{quoted}::{decimal}"
