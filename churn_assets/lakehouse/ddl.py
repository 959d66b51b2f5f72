"""From a table's contract to SQL, and from a table back to a comparison with its contract."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType

from churn_assets.contracts import Column, WriteMode
from churn_assets.errors import ContractError
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, COMPUTED_DATES, TABLES, USER_FEATURES, Table

# What a model was trained on must be there, as it was, for as long as the model is.
TRAINED_ON = (USER_FEATURES, CHURN_LABELS)

# Without it Sail deletes, at the next checkpoint, each log file older than 30 days, and deltalake and Apache
# Spark do so as well: no version from before can be read, whatever files are still there.
LOG_KEPT = {"delta.logRetentionDuration": "interval 36500 days"}

# Delta's own names for the types that Spark calls otherwise.
SPARK_TYPE = {"long": "bigint", "integer": "int"}


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def register_table(name: str, location: Path) -> str:
    """The statement that gives the table at ``location`` a name in this session.

    Without columns: with them Sail compares by position, its own partition columns last.
    """
    return f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {quoted(str(location))}"


def create_table(table: Table, name: str, location: Path) -> str:
    """The statement that creates the table at ``location``."""
    partitioned = f"\nPARTITIONED BY (`{table.partition_column}`)" if table.partition_column else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {_columns(table.columns)}\n)\nUSING delta{partitioned}\n"
        f"COMMENT {quoted(table.comment)}\nLOCATION {quoted(str(location))}"
        + (f"\nTBLPROPERTIES ({properties_list(LOG_KEPT)})" if table in TRAINED_ON else "")
    )


# What Databricks adds to a table: deletes and replacements that rewrite no file, and files of a sensible size
# though each day is a small write.
MANAGED_PROPERTIES = {
    "delta.autoOptimize.autoCompact": "true",
    "delta.autoOptimize.optimizeWrite": "true",
    "delta.enableDeletionVectors": "true",
}

# There VACUUM, and predictive optimisation's, goes by the table and not by what models need: a year.
MANAGED_PAST_KEPT = {
    "delta.deletedFileRetentionDuration": "interval 365 days",
    "delta.logRetentionDuration": "interval 365 days",
}


def create_managed_table(table: Table, name: str) -> str:
    """The statement that creates the table in Unity Catalog, which chooses where it lies.

    Partitioned where the contract says so, else clustered by its key: docs/adr/0011.
    """
    layout = (
        f"PARTITIONED BY (`{table.partition_column}`)"
        if table.partition_column
        else f"CLUSTER BY ({', '.join(f'`{key}`' for key in table.key)})"
    )
    properties = managed_properties(table)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {_columns(table.columns)}\n)\nUSING delta\n{layout}\n"
        f"COMMENT {quoted(table.comment)}\nTBLPROPERTIES ({properties_list(properties)})"
    )


def managed_properties(table: Table) -> dict[str, str]:
    """The properties of the table in Unity Catalog."""
    return MANAGED_PROPERTIES | (MANAGED_PAST_KEPT if table in TRAINED_ON else {})


def properties_list(properties: dict[str, str]) -> str:
    """What stands between the parentheses of TBLPROPERTIES."""
    return ", ".join(f"{quoted(key)} = {quoted(value)}" for key, value in properties.items())


def _columns(columns: Iterable[Column]) -> str:
    return ",\n  ".join(
        f"`{column.name}` {column.type.upper()}{'' if column.nullable else ' NOT NULL'} "
        f"COMMENT {quoted(column.comment)}"
        for column in columns
    )


# What to do instead of losing a table, after its columns were changed in the contract.
KEEP = (
    "To keep it: a contract may gain columns, and none may be removed, renamed or retyped; one that nothing "
    "fills any more stays there as nullable."
)


def differences(table: Table, found: Mapping[str, str], partitions: list[str]) -> list[str]:
    """How a table differs from its contract, a phrase each.

    Columns that it gains when it is next opened are no difference. Where another column differs, those are
    named as well that rows of today cannot lack: what was renamed looks like one removed and one added.

    Args:
        table: the contract.
        found: the type of each column that is there, by Spark's names.
        partitions: the columns that it is partitioned by.
    """
    expected = {column.name: column.type for column in table.columns}
    to_gain = {column.name: column.nullable for column in gained_columns(table, found)}
    differing = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    cannot_grow = any(name not in to_gain for name in differing)
    phrases = [
        f"{name} {found.get(name, 'missing')} instead of {expected.get(name, 'none')}"
        for name in differing
        if name not in to_gain or (cannot_grow and not to_gain[name])
    ]
    if partitions != ([table.partition_column] if table.partition_column else []):
        phrases.append(f"partitioned by {partitions} instead of {table.partition_column}")
    return phrases


def gained_columns(table: Table, found: Collection[str]) -> list[Column]:
    """The columns that a table of an earlier release lacks and gains in place, where they are nullable.

    Its rows have no value there. Where the contract forbids that, rows must be computed again, as those are
    that are replaced; what is only ever added to stays as it is, and can gain nullable columns alone. Nor is
    a row without its key, or in no partition, a row.
    """
    fixed = {*table.key, table.partition_column}
    is_replaced = table.write_mode in (WriteMode.REPLACE_PARTITIONS, WriteMode.REPLACE_ALL)
    return [
        column
        for column in table.columns
        if column.name not in found and column.name not in fixed and (column.nullable or is_replaced)
    ]


def add_columns(table: Table, name: str, found: Collection[str]) -> str | None:
    """The statement that gives a table in Unity Catalog the columns it lacks; None if it has them all."""
    # Delta adds no NOT NULL column, as rows are there; each write is held to the contract by guard.py.
    gained = [replace(column, nullable=True) for column in gained_columns(table, found)]
    return f"ALTER TABLE {name} ADD COLUMNS (\n  {_columns(gained)}\n)" if gained else None


def add_columns_on_disk(table: Table, location: Path) -> None:
    """Give a table on disk the columns that it lacks: one commit that touches no file."""
    on_disk = DeltaTable(location)
    if gained := gained_columns(table, _found(on_disk)):
        on_disk.alter.add_columns(
            [
                Field(
                    column.name, PrimitiveType(_delta_type(column.type)), metadata={"comment": column.comment}
                )
                for column in gained
            ]
        )


def too_strict(table: Table, location: Path) -> list[str]:
    """The columns of a table on disk that refuse a NULL, which the contract has come to allow."""
    nullable = {column.name for column in table.columns if column.nullable}
    fields = DeltaTable(location).schema().fields
    return [field.name for field in fields if field.name in nullable and not field.nullable]


def loosen_on_disk(table: Table, location: Path) -> None:
    """Let columns of a table on disk be NULL as the contract does: a commit each that touches no file."""
    for column in too_strict(table, location):
        DeltaTable(location).alter.drop_column_not_null(column)


def require_contract(table: Table, location: Path) -> None:
    """Compare a table on disk with its contract.

    Raises:
        ContractError: names, types or the partition column differ.
    """
    on_disk = DeltaTable(location)
    found = _found(on_disk)
    if differing := differences(table, found, on_disk.metadata().partition_columns):
        raise ContractError(
            f"The table at {location} is not {table}: {'; '.join(differing)}. Its contract is "
            f"tables.{table.constant}: move the folder away and run again, or set another CHURN_LAKE_ROOT. "
            f"{KEEP}"
        )


def columns_on_disk(location: Path) -> dict[str, str]:
    """The type of each column of a table on disk, by Spark's names."""
    return _found(DeltaTable(location))


def _found(on_disk: DeltaTable) -> dict[str, str]:
    return {field.name: _spark_type(field.type) for field in on_disk.schema().fields}


def _delta_type(spark_type: str) -> str:
    return {of_spark: of_delta for of_delta, of_spark in SPARK_TYPE.items()}.get(spark_type, spark_type)


def _spark_type(delta_type: object) -> str:
    name = str(getattr(delta_type, "type", delta_type))
    return SPARK_TYPE.get(name, name)


def schemas(settings: Settings) -> list[str]:
    """The schemas that hold the tables, by their two-level names, once each."""
    tables = (*TABLES, COMPUTED_DATES)
    return list(dict.fromkeys(f"{getattr(settings, table.catalog)}.{table.schema}" for table in tables))
