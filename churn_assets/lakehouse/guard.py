"""The only place that refuses rows and columns that do not belong in a table.

Sail writes rows outside the partitions that it replaces, which Apache Spark refuses; and no engine refuses a
NULL in a column that a table of an earlier release has gained, as Delta can only add nullable ones. Here
every engine refuses them, with one line that says what is wrong.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.contracts import Column as ContractColumn
from churn_assets.dates import DateRange
from churn_assets.errors import ContractError
from churn_assets.tables import Table

OUTSIDE = "row outside the partitions of the run"
NO_VALUE = "row without a value"


def conforming(table: Table, rows: DataFrame, dates: DateRange | None) -> DataFrame:
    """Return the rows in the contract's column order, so that their write fails where one is not allowed.

    A row is not allowed outside ``dates``, nor with NULL in a column that the contract wants filled.

    Raises:
        ContractError: a column is missing, unknown or of another type.
    """
    types = dict(rows.dtypes)
    contract_types = {column.name: column.type for column in table.columns}
    if extra := types.keys() - contract_types.keys():
        raise ContractError(
            f"{table} would gain columns {sorted(extra)}; its contract is tables.{table.constant}. "
            "Add them there, or drop them in the transform."
        )
    if wrong := [
        f"{name} {types.get(name, 'missing')} instead of {type_}"
        for name, type_ in contract_types.items()
        if types.get(name) != type_
    ]:
        raise ContractError(
            f"{table} would be written with {'; '.join(wrong)}; its contract is tables.{table.constant}. "
            "Cast or add them in the transform."
        )
    return rows.select(*(_guarded(table, column, dates) for column in table.columns))


def _guarded(table: Table, column: ContractColumn, dates: DateRange | None) -> Column:
    if dates and column.name == table.partition_column:
        return _inside(table, column.name, dates)
    if column.nullable:
        return F.col(column.name)
    refused = F.raise_error(F.lit(f"{NO_VALUE}: {_null_in(table, column.name)}")).cast(column.type)
    return F.coalesce(F.col(column.name), refused).alias(column.name)


def _inside(table: Table, column: str, dates: DateRange) -> Column:
    # An expression rather than a count: rows are computed once, and the write fails before it commits.
    message = F.concat(
        F.lit(f"{OUTSIDE}: {table} gets {column} = "),
        F.coalesce(F.col(column).cast("string"), F.lit("NULL")),
        F.lit(f", but the run replaces {dates}. Filter it in the transform."),
    )
    inside = F.col(column).between(F.lit(dates.start), F.lit(dates.end))
    return F.when(inside, F.col(column)).otherwise(F.raise_error(message).cast("date")).alias(column)


def contract_error(table: Table, error: Exception) -> ContractError | None:
    """Return an engine's failure as one line about the contract; None if it is about something else."""
    text = str(error)
    if OUTSIDE in text:
        sentence = text[text.index(OUTSIDE) :].partition("in the transform.")[0] + "in the transform."
        return ContractError(sentence[0].upper() + sentence[1:])
    if NO_VALUE in text:
        sentence = text[text.index(NO_VALUE) + len(NO_VALUE) + 2 :]
        return ContractError(sentence.partition("in the transform.")[0] + "in the transform.")
    if "NOT NULL constraint violated for column" in text or "DELTA_NOT_NULL_CONSTRAINT_VIOLATED" in text:
        words = text.rpartition("for column:")[2].split(maxsplit=1) if "for column:" in text else []
        return ContractError(_null_in(table, words[0].strip(".`") if words else "a column"))
    return None


def _null_in(table: Table, column: str) -> str:
    return (
        f"{table} would get a NULL in {column}, which its contract tables.{table.constant} forbids. "
        "Filter or fill it in the transform."
    )
