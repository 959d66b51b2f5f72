"""What ``DESCRIBE`` and ``information_schema`` show of a table, and ``ALTER TABLE``, by its Delta log."""

import datetime as dt
from pathlib import Path
from typing import Any

from .unity import UnityError

# Delta's own names for the types that Spark calls otherwise.
SPARK_TYPES = {"long": "bigint", "integer": "int"}

HISTORY = (
    "version BIGINT, timestamp TIMESTAMP, userId STRING, userName STRING, operation STRING, "
    "operationParameters MAP<STRING, STRING>, readVersion BIGINT, isolationLevel STRING, "
    "isBlindAppend BOOLEAN, operationMetrics MAP<STRING, STRING>, userMetadata STRING, engineInfo STRING"
)
COLUMNS = "col_name STRING, data_type STRING, comment STRING"
INFORMATION_SCHEMA = (
    "table_catalog STRING, table_schema STRING, table_name STRING, column_name STRING, "
    "ordinal_position INT, is_nullable STRING, full_data_type STRING"
)
DETAIL = (
    "format STRING, id STRING, name STRING, description STRING, location STRING, createdAt TIMESTAMP, "
    "lastModified TIMESTAMP, partitionColumns ARRAY<STRING>, clusteringColumns ARRAY<STRING>, "
    "numFiles BIGINT, sizeInBytes BIGINT, properties MAP<STRING, STRING>, "
    "minReaderVersion INT, minWriterVersion INT"
)


def history(location: Path, limit: int | None) -> list[tuple[Any, ...]]:
    """One row a commit, the latest first, in the columns of ``HISTORY``."""
    from deltalake import DeltaTable

    return [
        (
            commit["version"],
            _at(commit["timestamp"]),
            None,
            None,
            commit["operation"],
            _texts(commit.get("operationParameters")),
            commit["version"] - 1 if commit["version"] else None,
            "WriteSerializable",
            commit.get("isBlindAppend"),
            _texts(commit.get("operationMetrics")),
            None,
            commit.get("engineInfo"),
        )
        for commit in DeltaTable(location).history(limit)
    ]


def columns(location: Path) -> list[tuple[str | None, ...]]:
    """One row a column in the columns of ``COLUMNS``, then what the table is partitioned by.

    From the log, because Sail knows no columns of a table that another session made.
    """
    from deltalake import DeltaTable

    delta = DeltaTable(location)
    rows: list[tuple[str | None, ...]] = []
    for field in delta.schema().fields:
        name = str(getattr(field.type, "type", field.type))
        rows.append((field.name, SPARK_TYPES.get(name, name), field.metadata.get("comment")))
    by = delta.metadata().partition_columns
    if by:
        rows += [("# Partition Information", "", ""), ("# col_name", "data_type", "comment")]
        rows += [row for row in rows if row[0] in by]
    return rows


def information_schema(table: dict[str, Any]) -> list[tuple[Any, ...]]:
    """One row a column of a table in the columns of ``INFORMATION_SCHEMA``, of which the service has more."""
    from deltalake import DeltaTable

    fields = DeltaTable(table["location"]).schema().fields
    types = {name: type_ for name, type_, _ in columns(Path(table["location"]))}
    return [
        (*table["name"].split("."), field.name, place, "YES" if field.nullable else "NO", types[field.name])
        for place, field in enumerate(fields, start=1)
    ]


def drop_not_null(location: Path, column: str) -> None:
    """Let a column be NULL; one that may be already stays so, here without the commit that the service makes.

    Raises:
        UnityError: there is no such column.
    """
    from deltalake import DeltaTable

    delta = DeltaTable(location)
    nullable = {field.name: field.nullable for field in delta.schema().fields}
    if column not in nullable:
        raise UnityError("UNRESOLVED_COLUMN", f"There is no column `{column}`.")
    if not nullable[column]:
        delta.alter.drop_column_not_null(column)


def add_columns(location: Path, columns: list[tuple[str, str, str | None]]) -> None:
    """Add nullable columns, each with its name, Spark's name of its type and its comment.

    Raises:
        UnityError: a column is there already.
    """
    from deltalake import DeltaTable, Field
    from deltalake.schema import PrimitiveType

    delta = DeltaTable(location)
    present = {field.name for field in delta.schema().fields}
    for name, _, _ in columns:
        if name in present:
            raise UnityError("FIELD_ALREADY_EXISTS", f"Cannot add column, because `{name}` already exists.")
    of_delta = {of_spark: of_delta for of_delta, of_spark in SPARK_TYPES.items()}
    delta.alter.add_columns(
        [
            Field(
                name,
                PrimitiveType(of_delta.get(kind, kind)),
                metadata={"comment": comment} if comment else None,
            )
            for name, kind, comment in columns
        ]
    )


def detail(table: dict[str, Any]) -> tuple[Any, ...]:
    """One table in the columns of ``DETAIL``; ``table`` is what the metastore knows of it."""
    import pyarrow as pa
    from deltalake import DeltaTable

    delta = DeltaTable(table["location"])
    files = pa.table(delta.get_add_actions(flatten=True))
    metadata, protocol = delta.metadata(), delta.protocol()
    return (
        "delta",
        str(metadata.id),
        table["name"],
        table.get("comment"),
        table["location"],
        _at(table["created_at"]),
        _at(delta.history(1)[0]["timestamp"]),
        list(metadata.partition_columns),
        table.get("cluster_by", []),
        files.num_rows,
        sum(files["size_bytes"].to_pylist()),
        {**metadata.configuration, **table.get("properties", {})},
        protocol.min_reader_version,
        protocol.min_writer_version,
    )


def _at(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.timezone.utc)  # noqa: UP017 - one name for both is enough


def _texts(values: dict[str, Any] | None) -> dict[str, str]:
    return {key: str(value) for key, value in (values or {}).items()}
