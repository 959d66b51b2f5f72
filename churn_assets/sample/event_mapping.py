"""How the columns of any event log become the five fields of an event, in Spark SQL."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.errors import ImportFileError
from churn_assets.sample import event_values

# What a row carries beside its file's columns: where it stands among the rows that are mapped together, the
# name of its file, and its number there, from 1.
POSITION = "__position"
SOURCE_NAME = "__source_name"
SOURCE_ROW = "__source_row"


@dataclass(frozen=True)
class EventMapping:
    """The options of ``churn import``.

    A value is a column's name, ``=VALUE`` for a constant, or a SQL expression in parentheses; that of
    ``event_id`` may also be several columns, ``COL,COL``. ``None`` leaves the field out, but for ``event_id``
    it takes a hash of file name and row number.

    Raises:
        ImportFileError: ``event_id`` is a constant.
    """

    user_id: str
    event_ts: str
    event_id: str | None = None
    event_type: str | None = None
    country: str | None = None
    hash_user_id: bool = False

    def __post_init__(self) -> None:
        if self.event_id and self.event_id.startswith("="):
            raise ImportFileError(
                f"--event-id {self.event_id} would give all rows one id, and only one of them would stay. "
                "Name a column, or leave the option out."
            )

    @property
    def fingerprint(self) -> bytes:
        """Equal for equal mappings, in every process."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    def columns_needed(self, columns: Sequence[str], source: str) -> list[str]:
        """Those of a file's columns that any option may read, and at least one of them.

        Raises:
            ImportFileError: an option names a column that the file lacks; the message lists those it has.
        """
        for option, value in self._options().items():
            missing = [part for part in self._parts(option, value, columns) if part not in columns]
            if missing:
                raise ImportFileError(
                    f"{source} has no column {missing[0]!r} for --{option}. It has {', '.join(columns)}. "
                    "Name one of these, =VALUE for a constant, or a SQL expression in parentheses."
                )
        text = "\n".join(value for value in self._options().values() if not value.startswith("=")).casefold()
        return [name for name in columns if name.casefold() in text] or list(columns[:1])

    def events(self, rows: DataFrame, columns: Sequence[str]) -> DataFrame:
        """Map rows to events.

        Args:
            rows: the columns needed, and POSITION (bigint), SOURCE_NAME (string) and SOURCE_ROW (bigint).
            columns: all columns of the file, for an error to list.

        Returns:
            One row each, in any order: POSITION, event_id, event_type and country (string), user_id (bigint),
            user_text (string: the id where it is neither missing nor a number), event_ts_micros (bigint,
            since 1970 UTC), event_ts_text (string: the time as it was where it is none).

        Raises:
            ImportFileError: an option is no valid expression over the columns.
        """
        values = {
            option: self._value(rows, option, value, columns) for option, value in self._options().items()
        }
        types = {name: rows.select(values[name]).schema[0].dataType for name in ("user-id", "event-ts")}
        number, text = event_values.user_number_and_text(values["user-id"], types["user-id"])
        if self.hash_user_id:
            number = F.coalesce(number, F.when(text.isNotNull(), F.xxhash64(text)))
        micros = event_values.micros(values["event-ts"], types["event-ts"])
        nothing = F.lit(None)
        return rows.select(
            F.col(POSITION),
            values.get("event-id", _hash_of_position()).cast("string").alias("event_id"),
            number.alias("user_id"),
            F.when(number.isNull(), text).alias("user_text"),
            micros.alias("event_ts_micros"),
            F.when(micros.isNull(), values["event-ts"].cast("string")).alias("event_ts_text"),
            values.get("event-type", nothing).cast("string").alias("event_type"),
            values.get("country", nothing).cast("string").alias("country"),
        )

    def _options(self) -> dict[str, str]:
        options = asdict(self)
        del options["hash_user_id"]
        return {name.replace("_", "-"): value for name, value in options.items() if value is not None}

    def _parts(self, option: str, value: str, columns: Sequence[str]) -> list[str]:
        """The columns that an option names outright."""
        if value.startswith("=") or _is_sql(value):
            return []
        return value.split(",") if option == "event-id" and value not in columns else [value]

    def _value(self, rows: DataFrame, option: str, value: str, columns: Sequence[str]) -> Column:
        if value.startswith("="):
            return F.lit(value[1:])
        if not _is_sql(value):
            parts = [_column(part) for part in self._parts(option, value, columns)]
            return parts[0] if len(parts) == 1 else F.concat(*_separated(parts))
        try:
            column = F.expr(value[1:-1])
            # Neither engine looks at the names in an expression before somebody asks for the schema.
            _ = rows.select(column.alias("value")).schema
        except PySparkException as error:
            raise ImportFileError(
                f"--{option} {value} is no SQL expression over the columns {', '.join(columns)}: "
                f"{first_line(error)}"
            ) from error
        return column


def first_line(error: PySparkException) -> str:
    """What an engine complains of, without its plan, its state code and the rest of its grammar."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    line = lines[0].split(" SQLSTATE")[0].strip() if lines else type(error).__name__
    return f"{line[:200]}..." if len(line) > 200 else line


def _is_sql(value: str) -> bool:
    return value.startswith("(") and value.endswith(")")


def _column(name: str) -> Column:
    return F.col(f"`{name.replace('`', '``')}`")


def _hash_of_position() -> Column:
    """The same for the same row of the same file, however often and in whatever company it is imported."""
    return F.substring(F.sha2(F.concat(F.col(SOURCE_NAME), F.lit(":"), F.col(SOURCE_ROW)), 256), 1, 32)


def _separated(parts: list[Column]) -> list[Column]:
    """The parts with commas between them, and commas in them escaped: ('a,b', 'c') is not ('a', 'b,c')."""
    texts = []
    for part in parts:
        escaped = F.replace(part.cast("string"), F.lit("\\"), F.lit("\\\\"))
        texts += [F.lit(","), F.replace(escaped, F.lit(","), F.lit("\\,"))]
    return texts[1:]
