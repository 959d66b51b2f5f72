"""From a table's contract to SQL, and from a table on disk back to a comparison with its contract."""

from pathlib import Path

from deltalake import DeltaTable

from churn_assets.errors import ContractError
from churn_assets.tables import Table

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
    columns = ",\n  ".join(
        f"`{column.name}` {column.type.upper()}{'' if column.nullable else ' NOT NULL'} "
        f"COMMENT {quoted(column.comment)}"
        for column in table.columns
    )
    partitioned = f"\nPARTITIONED BY (`{table.partition_column}`)" if table.partition_column else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {columns}\n)\nUSING delta{partitioned}\n"
        f"COMMENT {quoted(table.comment)}\nLOCATION {quoted(str(location))}"
    )


def require_contract(table: Table, location: Path) -> None:
    """Compare a table on disk with its contract.

    Raises:
        ContractError: names, types or the partition column differ.
    """
    on_disk = DeltaTable(location)
    found = {field.name: _spark_type(field.type) for field in on_disk.schema().fields}
    expected = {column.name: column.type for column in table.columns}
    differences = [
        f"{name} {found.get(name, 'missing')} instead of {expected.get(name, 'none')}"
        for name in {**expected, **found}
        if found.get(name) != expected.get(name)
    ]
    partitions = on_disk.metadata().partition_columns
    if partitions != ([table.partition_column] if table.partition_column else []):
        differences.append(f"partitioned by {partitions} instead of {table.partition_column}")
    if differences:
        raise ContractError(
            f"The table at {location} is not {table}: {'; '.join(differences)}. Its contract is "
            f"tables.{table.constant}: move the folder away and run again, or set another CHURN_LAKE_ROOT."
        )


def _spark_type(delta_type: object) -> str:
    name = str(getattr(delta_type, "type", delta_type))
    return SPARK_TYPE.get(name, name)
