"""The SQL expressions that ``churn import`` accepts: of one row, with the same result in Sail and Spark.

The engines say whether an expression fits the columns. Here is said what both would take and should not.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import sqlglot
from pyspark.sql import types as T
from sqlglot import exp
from sqlglot.errors import SqlglotError

from churn_assets.errors import ImportFileError, one_line

# Of a number, Sail counts microseconds and Spark seconds; of text they agree.
OF_NUMBERS = {
    "timestamp",
    "to_timestamp",
    "to_timestamp_ltz",
    "to_timestamp_ntz",
    "try_to_timestamp",
    "timestamp_seconds",
}
# Of text with a time of day, Sail gives NULL.
TO_DATES = {"date", "to_date", "try_to_date", "cast", "try_cast", "::"}
ALIKE = {"weekday": "dayofweek", "bround": "round"}
# What differs from one import to the next, or from one machine to the next, or reaches out of the row.
NOT_OF_THE_ROW = {
    *("rand", "random", "randn", "uniform", "randstr", "uuid", "shuffle", "monotonically_increasing_id"),
    *("spark_partition_id", "input_file_name", "input_file_block_start", "input_file_block_length"),
    *("now", "current_timestamp", "current_date", "curdate", "current_time", "localtimestamp"),
    *("current_user", "session_user", "user", "version", "current_timezone", "current_catalog"),
    *("current_database", "current_schema", "reflect", "java_method", "try_reflect", "read_files"),
}
NONDETERMINISTIC_NODES = (
    exp.Rand,
    exp.Randn,
    exp.Uuid,
    exp.CurrentTimestamp,
    exp.CurrentDate,
    exp.CurrentUser,
    exp.CurrentTime,
)

TypeOf = Callable[[str], T.DataType]


def columns_of(sql: str) -> set[str]:
    """Return the names that may be columns, none for invalid SQL, which the mapping reports."""
    try:
        parsed = _parsed(sql)
    except ValueError:
        return set()
    return {column.parts[0].name for column in parsed.find_all(exp.Column)}


def identifiers_of(sql: str) -> set[str]:
    """Return all names but those of functions, none for invalid SQL."""
    try:
        parsed = _parsed(sql)
    except ValueError:
        return set()
    return {identifier.name for identifier in parsed.find_all(exp.Identifier)}


def parse(sql: str) -> exp.Expr:
    """The expression's tree.

    Raises:
        ValueError: it is not one expression; says what is wrong in one line.
    """
    return _parsed(sql)


def require_of_one_row(option: str, sql: str) -> None:
    """Refuse expressions that read anything but the row.

    Raises:
        ImportFileError: it has a query, a window, an aggregate, or a function that is not of the row alone.
    """
    parsed = _parsed(sql)
    why = None
    if parsed.find(exp.Query, exp.Table, exp.Values, exp.DDL, exp.Command):
        why = "it reads a table or a file"
    elif parsed.find(exp.Window, exp.AggFunc):
        why = "it reads other rows, and which are near is chance"
    elif outside := next((name for name in _outside(parsed, sql)), None):
        why = f"{outside} is not of the row alone, so that each import would give something else"
    if why:
        raise ImportFileError(
            f"--{option} ({sql}): {why}. Use the columns of the row, and functions of them alone."
        )


def require_alike(option: str, sql: str, type_of: TypeOf) -> None:
    """Refuse what Sail and Apache Spark compute differently, naming what they compute alike.

    Args:
        option: for the error.
        sql: an expression that the engine knows.
        type_of: the type of a part of it, by the engine.

    Raises:
        ImportFileError: says what to write instead.
    """
    for name, node in _functions(_parsed(sql), sql):
        argument = next(iter(_arguments(node)), None)
        if argument is None:
            continue
        text = argument.sql("spark")
        instead = None
        if name in ALIKE:
            instead = f"{ALIKE[name]}({text})"
        elif name in OF_NUMBERS and _differs_of(name, type_of(text)):
            instead = _of_epoch(argument, type_of)
        elif name in TO_DATES and _is_date_of_text(node, argument, type_of):
            instead = f"to_date(cast({text} as timestamp))"
        if instead:
            raise ImportFileError(
                f"--{option} ({sql}): Sail and Apache Spark compute {name} differently here. "
                f'Use "({instead})", on which they agree{_or_plain(name, argument)}.'
            )


def _differs_of(name: str, kind: T.DataType) -> bool:
    if name == "timestamp_seconds":  # Sail cuts fractions off
        return isinstance(kind, T.FractionalType)
    return isinstance(kind, T.NumericType)


def _is_date_of_text(node: exp.Expr, argument: exp.Expr, type_of: TypeOf) -> bool:
    is_cast = isinstance(node, exp.Cast | exp.TryCast)
    if is_cast and not node.to.is_type(exp.DataType.Type.DATE):
        return False
    has_format = len(list(_arguments(node))) > 1 or node.args.get("format") is not None
    is_literal = isinstance(argument, exp.Literal)
    return not has_format and not is_literal and isinstance(type_of(argument.sql("spark")), T.StringType)


def _of_epoch(argument: exp.Expr, type_of: TypeOf) -> str:
    """The function that counts from 1970 in what the argument is divided to seconds from."""
    while isinstance(argument, exp.Paren):
        argument = argument.this
    units = {"1000": "timestamp_millis", "1000000": "timestamp_micros"}
    if isinstance(argument, exp.Div | exp.IntDiv):
        divisor = argument.expression.name.rstrip("0").rstrip(".") if "." in argument.expression.name else ""
        function = units.get(divisor or argument.expression.name)
        if function:
            counted = argument.this
            while isinstance(counted, exp.Paren):
                counted = counted.this
            return f"{function}({_whole(counted, type_of)})"
    return f"timestamp_seconds({_whole(argument, type_of)})"


def _whole(number: exp.Expr, type_of: TypeOf) -> str:
    """As an integer: Sail counts from text too, Apache Spark from nothing else."""
    text = number.sql("spark")
    return text if isinstance(type_of(text), T.IntegralType) else f"bigint({text})"


def _or_plain(name: str, argument: exp.Expr) -> str:
    if name not in OF_NUMBERS:
        return ""
    columns = [column.name for column in argument.find_all(exp.Column)]
    return f", or the column {columns[0]} alone: its unit is recognised" if len(set(columns)) == 1 else ""


def _outside(parsed: exp.Expr, sql: str) -> Iterator[str]:
    for name, _ in _functions(parsed, sql):
        if name in NOT_OF_THE_ROW:
            yield name
    for node in parsed.find_all(*NONDETERMINISTIC_NODES):
        yield node.sql("spark")
    # Without parentheses, these are functions all the same.
    for column in parsed.find_all(exp.Column):
        if not column.this.quoted and column.name.casefold() in {"current_user", "localtimestamp"}:
            yield column.name


def _functions(parsed: exp.Expr, sql: str) -> Iterator[tuple[str, exp.Expr]]:
    """Each function or cast with its name as it is written, in lower case."""
    for node in parsed.walk():
        if "start" in node.meta and isinstance(node, exp.Func):
            yield sql[node.meta["start"] : node.meta["end"] + 1].casefold(), node
        elif isinstance(node, exp.Cast | exp.TryCast):
            yield "cast", node


def _arguments(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.Anonymous):
        yield from node.expressions
    elif isinstance(node.this, exp.Expr):
        yield node.this


@lru_cache
def _parsed(sql: str) -> exp.Expr:
    # Asked for each file of an import. Nobody changes the tree.
    try:
        expressions = sqlglot.parse(sql, read="spark", error_level=sqlglot.ErrorLevel.IMMEDIATE)
    except SqlglotError as error:
        lines = [detail["description"] for detail in getattr(error, "errors", [])] or [str(error)]
        raise ValueError(one_line(lines[0])) from error
    if len(expressions) != 1 or expressions[0] is None:
        what = "it is not one expression"
        raise ValueError(what)
    return expressions[0]
