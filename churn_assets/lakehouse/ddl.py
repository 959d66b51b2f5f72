"""SQL and schema changes made from contracts, and the comparison of a table with its contract."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType

from churn_assets.contracts import Column, WriteMode
from churn_assets.errors import ContractError
from churn_assets.lakehouse.opened import opened, opened_existing
from churn_assets.settings import Settings
from churn_assets.tables import (
    ASSET_TABLES,
    CHURN_LABELS,
    COMPUTED_DATES,
    LATEST_USER_FEATURES,
    TABLES,
    USER_FEATURES,
    Table,
)

# What a model was trained on must stay readable, as it was, for as long as the model exists.
TRAINED_ON = (USER_FEATURES, CHURN_LABELS)

# What an online store of Databricks copies. It asks for a primary key and for the change data feed
# (docs.databricks.com/aws/en/machine-learning/feature-store/online-feature-store, "Publish a feature table").
PUBLISHED = (LATEST_USER_FEATURES,)

# Without it Sail, deltalake and Apache Spark delete each log file older than 30 days at the next checkpoint:
# no earlier version can be read then, whatever data files are left.
LOG_KEPT = {"delta.logRetentionDuration": "interval 36500 days"}

# Delta's own names -> Spark's, for the types where they differ.
SPARK_TYPE = {"long": "bigint", "integer": "int"}


def quoted(text: str) -> str:
    """Return a SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def register_table(name: str, location: Path) -> str:
    """Return the statement that gives the table at ``location`` a name in this session.

    Without columns: with them Sail compares by position, its own partition columns last.
    """
    return f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {quoted(str(location))}"


def create_table(table: Table, name: str, location: Path) -> str:
    """Return the statement that creates the table at ``location``."""
    partitioned = f"\nPARTITIONED BY (`{table.partition_column}`)" if table.partition_column else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {_columns(table.columns)}\n)\nUSING delta{partitioned}\n"
        f"COMMENT {quoted(table.comment)}\nLOCATION {quoted(str(location))}"
        + (f"\nTBLPROPERTIES ({properties_list(LOG_KEPT)})" if table in TRAINED_ON else "")
    )


def create_on_disk(table: Table, location: Path) -> None:
    """Create the table without an engine, as ``create_table`` would; one that is there already stays."""
    fields = [
        Field(
            column.name,
            PrimitiveType(_delta_type(column.type)),
            nullable=column.nullable,
            metadata={"comment": column.comment},
        )
        for column in table.columns
    ]
    try:
        DeltaTable.create(
            str(location),
            Schema(fields),
            mode="ignore",
            partition_by=table.partition_column,
            description=table.comment,
            configuration=LOG_KEPT if table in TRAINED_ON else None,
        )
    except DeltaError:
        # The answer to it may have been lost: the store, asked once more, says that another has done it.
        if opened(location) is None:
            raise


# What Databricks adds to a table: deletes and replacements that rewrite no file, and files of a sensible size
# though each day is a small write.
MANAGED_PROPERTIES = {
    "delta.autoOptimize.autoCompact": "true",
    "delta.autoOptimize.optimizeWrite": "true",
    "delta.enableDeletionVectors": "true",
}

# Databricks' VACUUM, predictive optimisation's included, knows no models: the tables keep a year.
MANAGED_PAST_KEPT = {
    "delta.deletedFileRetentionDuration": "interval 365 days",
    "delta.logRetentionDuration": "interval 365 days",
}


CHANGE_DATA_FEED = {"delta.enableChangeDataFeed": "true"}


# What Delta keeps of a log that says nothing else.
LOG_KEPT_HOURS = 30 * 24


def past_kept(hours: int) -> dict[str, str]:
    """Return the properties of a table whose VACUUM leaves files that were in use so long ago.

    Both in one statement: Delta compares the first with the second, and with 30 days where it is not named.
    """
    return {
        "delta.deletedFileRetentionDuration": f"interval {hours} hours",
        "delta.logRetentionDuration": f"interval {max(hours, LOG_KEPT_HOURS)} hours",
    }


def create_managed_table(table: Table, name: str) -> str:
    """Return the statement that creates the table in Unity Catalog, which chooses its location.

    It is partitioned where the contract says so, else clustered by its key: docs/adr/0011.
    """
    layout = (
        f"PARTITIONED BY (`{table.partition_column}`)"
        if table.partition_column
        else f"CLUSTER BY ({', '.join(f'`{key}`' for key in table.key)})"
    )
    properties = managed_properties(table)
    columns = _columns(table.columns)
    if primary_key := managed_primary_key(table):
        names = ", ".join(f"`{column}`" for column in primary_key)
        columns += f",\n  CONSTRAINT `{table.name}_key` PRIMARY KEY ({names})"
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {columns}\n)\nUSING delta\n{layout}\n"
        f"COMMENT {quoted(table.comment)}\nTBLPROPERTIES ({properties_list(properties)})"
    )


def managed_properties(table: Table) -> dict[str, str]:
    """Return the properties of the table in Unity Catalog."""
    return (
        MANAGED_PROPERTIES
        | (MANAGED_PAST_KEPT if table in TRAINED_ON else {})
        | (CHANGE_DATA_FEED if table in PUBLISHED else {})
    )


def managed_primary_key(table: Table) -> tuple[str, ...]:
    """Return the columns of the primary key that Unity Catalog is told of, which it does not enforce."""
    return table.key if table in PUBLISHED else ()


def managed_tables(settings: Settings) -> tuple[Table, ...]:
    """Return the tables of a ``databricks`` deployment, but for those that the platform keeps for itself."""
    return (*ASSET_TABLES, *(PUBLISHED if settings.databricks_online_store else ()))


def properties_list(properties: dict[str, str]) -> str:
    """Return what stands between the parentheses of TBLPROPERTIES."""
    return ", ".join(f"{quoted(key)} = {quoted(value)}" for key, value in properties.items())


def _columns(columns: Iterable[Column]) -> str:
    return ",\n  ".join(
        f"`{column.name}` {column.type.upper()}{'' if column.nullable else ' NOT NULL'} "
        f"COMMENT {quoted(column.comment)}"
        for column in columns
    )


# How to keep a table whose columns were changed in the contract.
KEEP = (
    "To keep it: a contract may gain columns, and none may be removed, renamed or retyped; one that nothing "
    "fills any more stays there as nullable."
)


def differences(table: Table, existing: Mapping[str, str], partitions: list[str]) -> list[str]:
    """Return a phrase for each difference between a table and its contract.

    Columns that it gains when it is next opened are no difference. Where another column differs, missing
    columns without NULL are named as well: a rename looks like one column removed and one added.

    Args:
        table: the contract.
        existing: the type of each column that exists, by Spark's names.
        partitions: the columns that it is partitioned by.
    """
    expected = {column.name: column.type for column in table.columns}
    to_gain = {column.name: column.nullable for column in missing_columns(table, existing)}
    differing = [name for name in {**expected, **existing} if existing.get(name) != expected.get(name)]
    cannot_grow = any(name not in to_gain for name in differing)
    phrases = [
        f"{name} {existing.get(name, 'missing')} instead of {expected.get(name, 'none')}"
        for name in differing
        if name not in to_gain or (cannot_grow and not to_gain[name])
    ]
    if partitions != ([table.partition_column] if table.partition_column else []):
        phrases.append(f"partitioned by {partitions} instead of {table.partition_column}")
    return phrases


def missing_columns(table: Table, existing: Collection[str]) -> list[Column]:
    """Return the columns that a table of an earlier release lacks and gains in place, as nullable.

    Existing rows have no value there. Where the contract forbids NULL, rows must be computed again: a table
    whose rows are replaced can gain such a column, and one that only grows cannot. No table can gain a key or
    a partition column.
    """
    fixed = {*table.key, table.partition_column}
    is_replaced = table.write_mode not in (WriteMode.APPEND, WriteMode.MERGE_NEW)
    return [
        column
        for column in table.columns
        if column.name not in existing and column.name not in fixed and (column.nullable or is_replaced)
    ]


def add_columns(table: Table, name: str, existing: Collection[str]) -> str | None:
    """Return the statement that adds a Unity Catalog table's missing columns; None if it has them all."""
    # Delta adds no NOT NULL column to a table with rows; guard.py checks each write against the contract.
    missing = [replace(column, nullable=True) for column in missing_columns(table, existing)]
    return f"ALTER TABLE {name} ADD COLUMNS (\n  {_columns(missing)}\n)" if missing else None


def add_columns_on_disk(table: Table, location: Path) -> None:
    """Add a table's missing columns on disk: one commit that touches no data file."""
    if missing := missing_columns(table, columns_on_disk(location)):
        DeltaTable(location).alter.add_columns(
            [
                Field(
                    column.name, PrimitiveType(_delta_type(column.type)), metadata={"comment": column.comment}
                )
                for column in missing
            ]
        )


def not_null_on_disk(table: Table, location: Path) -> list[str]:
    """Return the columns of a table on disk that refuse NULL though the contract now allows it."""
    nullable = {column.name for column in table.columns if column.nullable}
    fields = opened_existing(location).schema().fields
    return [field.name for field in fields if field.name in nullable and not field.nullable]


def drop_not_null_on_disk(table: Table, location: Path) -> None:
    """Allow NULL on disk where the contract does: a commit for each column, which touches no data file."""
    for column in not_null_on_disk(table, location):
        DeltaTable(location).alter.drop_column_not_null(column)


def require_contract(table: Table, location: Path) -> None:
    """Compare a table on disk with its contract.

    Raises:
        ContractError: names, types or the partition column differ.
    """
    on_disk = opened_existing(location)
    existing = _columns_of(on_disk)
    if differing := differences(table, existing, on_disk.metadata().partition_columns):
        raise ContractError(
            f"The table at {location} is not {table}: {'; '.join(differing)}. Its contract is "
            f"tables.{table.constant}: move the folder away and run again, or set another CHURN_LAKE_ROOT. "
            f"{KEEP}"
        )


def columns_on_disk(location: Path) -> dict[str, str]:
    """Return the type of each column of a table on disk, by Spark's names."""
    return _columns_of(opened_existing(location))


def _columns_of(on_disk: DeltaTable) -> dict[str, str]:
    return {field.name: _spark_type(field.type) for field in on_disk.schema().fields}


def _delta_type(spark_type: str) -> str:
    return {of_spark: of_delta for of_delta, of_spark in SPARK_TYPE.items()}.get(spark_type, spark_type)


def _spark_type(delta_type: object) -> str:
    name = str(getattr(delta_type, "type", delta_type))
    return SPARK_TYPE.get(name, name)


def schemas(settings: Settings) -> list[str]:
    """Return the two-level names of the schemas that hold the tables, without repetition."""
    tables = (*TABLES, COMPUTED_DATES)
    return list(dict.fromkeys(f"{getattr(settings, table.catalog)}.{table.schema}" for table in tables))
