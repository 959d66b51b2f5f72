"""How the columns of any event log become the six fields of an event, in Spark SQL."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.errors import ImportFileError
from churn_assets.sample import event_ids, event_values, sql_expressions

# What a row carries beside its file's columns: where it stands among the rows that are mapped together.
POSITION = "__position"


@dataclass(frozen=True)
class EventMapping:
    """The options of ``churn import``.

    A value is a column's name, ``=VALUE`` for a constant, or a SQL expression in parentheses; that of
    ``event_id`` may also be several columns, ``COL,COL``. ``None`` leaves the field out, but for ``event_id``
    it takes a hash of the event's content (see ``event_ids``). A column's name may be written in other case
    where that leaves no doubt.

    Raises:
        ImportFileError: ``event_id`` is a constant, or an expression reads more than the row.
    """

    user_id: str
    event_ts: str
    event_id: str | None = None
    event_type: str | None = None
    country: str | None = None
    hash_user_id: bool = False
    amount: str | None = None

    def __post_init__(self) -> None:
        if self.event_id and self.event_id.startswith("="):
            raise ImportFileError(
                f"--event-id {self.event_id} would give all rows one id, and only one of them would stay. "
                "Name a column, or leave the option out."
            )

    @property
    def fingerprint(self) -> bytes:
        """Equal for equal mappings, in every process. Older versions landed files under names made of it."""
        options = asdict(self)
        if self.amount is None:
            # As before there were amounts.
            del options["amount"]
        return orjson.dumps(options, option=orjson.OPT_SORT_KEYS)

    @property
    def options(self) -> dict[str, str]:
        """The options that say where a field comes from, by their names on the command line."""
        options = asdict(self)
        del options["hash_user_id"]
        return {name.replace("_", "-"): value for name, value in options.items() if value is not None}

    @property
    def names(self) -> set[str]:
        """Columns that the options name, by which one may tell how a file is written."""
        names: set[str] = set()
        for value in self.options.values():
            if _is_sql(value):
                names |= sql_expressions.columns_of(value[1:-1])
            elif not value.startswith("=") and "," not in value:
                names.add(value)
        return names

    def columns_needed(self, columns: Sequence[str], source: str) -> list[str]:
        """Those of a file's columns that any option may read, and at least one of them.

        Raises:
            ImportFileError: an option names a column that the file lacks, or one of several that only case
                tells apart; the message lists those it has.
        """
        needed: set[str] = set()
        for option, value in self.options.items():
            if _is_sql(value):
                identifiers = sql_expressions.identifiers_of(value[1:-1])
                needed |= {name for part in identifiers for name in _matching(part, columns)}
                continue
            for part in self._parts(option, value, columns):
                needed.add(_resolved(part, columns, option, source))
        _refuse_twins(needed, source)
        return [name for name in columns if name in needed] or list(columns[:1])

    def events(self, rows: DataFrame, columns: Sequence[str]) -> DataFrame:
        """Map rows to events.

        Args:
            rows: the columns needed, and POSITION (bigint).
            columns: all columns of the file.

        Returns:
            One row each, in any order: POSITION, event_id (string, null where it is made of the content),
            user_id (bigint), user_text (string: the id where it is neither missing nor a canonical number),
            user_check (bigint: another hash of it), event_ts_micros (bigint, since 1970 UTC), event_ts_text
            (string: the time as it was where it is none), epoch_unit (see ``event_values.epoch_unit``),
            event_type and country (string), amount (string: the number, or what there is in place of one),
            is_amount (boolean: whether Silver will read it, null without one), and, without ``event_id``, the
            columns of ``event_ids.content_columns``.

        Raises:
            ImportFileError: an option is no valid expression over the columns.
        """
        values = {option: self._value(rows, option, value, columns) for option, value in self.options.items()}
        # One question: each costs the engine a look at the whole plan.
        typed = [name for name in ("user-id", "event-ts", "amount") if name in values]
        schema = rows.select(*(values[name].alias(name) for name in typed)).schema
        types = {field.name: field.dataType for field in schema}
        number, text = event_values.user_number_and_text(values["user-id"], types["user-id"])
        text = F.when(number.isNull(), text)
        if self.hash_user_id:
            # Sail 0.7.2 panics on the hash of a batch of nothing but NULLs.
            number = F.coalesce(number, F.when(text.isNotNull(), F.xxhash64(F.coalesce(text, F.lit("")))))
        micros = event_values.micros(values["event-ts"], types["event-ts"])
        nothing = F.lit(None)
        amount = nothing.cast("string")
        if self.amount is not None:
            amount = event_values.amount_text(values["amount"], types["amount"])
        events = rows.select(
            F.col(POSITION),
            values.get("event-id", nothing).cast("string").alias("event_id"),
            number.alias("user_id"),
            text.alias("user_text"),
            # Chained on another seed: two texts that one hash cannot tell apart, this one can.
            F.when(text.isNotNull(), F.xxhash64(F.lit("check"), F.coalesce(text, F.lit("")))).alias(
                "user_check"
            ),
            micros.alias("event_ts_micros"),
            F.when(micros.isNull(), values["event-ts"].cast("string")).alias("event_ts_text"),
            event_values.epoch_unit(values["event-ts"], types["event-ts"]).alias("epoch_unit"),
            values.get("event-type", nothing).cast("string").alias("event_type"),
            values.get("country", nothing).cast("string").alias("country"),
            amount.alias("amount"),
            event_values.is_amount(amount).alias("is_amount"),
        )
        return events if self.event_id else event_ids.with_content(events, self.amount is not None)

    def _parts(self, option: str, value: str, columns: Sequence[str]) -> list[str]:
        """The columns that an option names outright."""
        if value.startswith("=") or _is_sql(value):
            return []
        is_one = option != "event-id" or _matching(value, columns)
        return [value] if is_one else value.split(",")

    def _value(self, rows: DataFrame, option: str, value: str, columns: Sequence[str]) -> Column:
        if value.startswith("="):
            return F.lit(value[1:])
        if not _is_sql(value):
            parts = [
                _column(_resolved(part, columns, option)) for part in self._parts(option, value, columns)
            ]
            return parts[0] if len(parts) == 1 else F.concat(*_separated(parts))
        sql = value[1:-1]
        try:
            sql_expressions.require_of_one_row(option, sql)
            column = F.expr(sql)
            # Neither engine looks at the names in an expression before somebody asks for the schema.
            _ = rows.select(column.alias("value")).schema
            sql_expressions.require_alike(
                option, sql, lambda part: rows.select(F.expr(part).alias("part")).schema[0].dataType
            )
        except (PySparkException, ValueError) as error:
            raise ImportFileError(
                f"--{option} {value} is no SQL expression over the columns {', '.join(columns)}: "
                f"{engine_complaint(error)}"
            ) from error
        return column


def engine_complaint(error: Exception) -> str:
    """Return the first line of an engine's error, without plan, state code and expected grammar."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    line = lines[0].split(" SQLSTATE")[0].strip() if lines else type(error).__name__
    return f"{line[:200]}..." if len(line) > 200 else line


def _is_sql(value: str) -> bool:
    return value.startswith("(") and value.endswith(")")


def _matching(name: str, columns: Sequence[str]) -> list[str]:
    """The column of this name, else those that differ from it only in case."""
    if name in columns:
        return [name]
    return [column for column in columns if column.casefold() == name.casefold()]


def _resolved(name: str, columns: Sequence[str], option: str, source: str = "The file") -> str:
    matches = _matching(name, columns)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ImportFileError(
            f"{source} has {len(matches)} columns that differ from --{option} {name} only in case: "
            f"{', '.join(matches)}. Write the one you mean as it is."
        )
    looks_headless = any(column[:1].isdigit() for column in columns)
    hint = " If its first row is data: --no-header, and its columns are column1, column2 …" * looks_headless
    raise ImportFileError(
        f"{source} has no column {name!r} for --{option}. It has {', '.join(columns)}. "
        f"Name one of these, =VALUE for a constant, or a SQL expression in parentheses.{hint}"
    )


def _refuse_twins(needed: set[str], source: str) -> None:
    spelled: dict[str, str] = {}
    for name in sorted(needed):
        other = spelled.setdefault(name.casefold(), name)
        if other != name:
            raise ImportFileError(
                f"{source} has columns {other!r} and {name!r}, and SQL cannot tell them apart: rename one."
            )


def _column(name: str) -> Column:
    return F.col(f"`{name.replace('`', '``')}`")


def _separated(parts: list[Column]) -> list[Column]:
    """The parts with commas between them, and commas in them escaped: ('a,b', 'c') is not ('a', 'b,c')."""
    texts = []
    for part in parts:
        escaped = F.replace(part.cast("string"), F.lit("\\"), F.lit("\\\\"))
        texts += [F.lit(","), F.replace(escaped, F.lit(","), F.lit("\\,"))]
    return texts[1:]
