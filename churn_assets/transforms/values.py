"""User ids, times and amounts from text: one set of rules, for landed lines and for imported files.

Sail and Apache Spark agree on every expression here; where their casts differ, the cast is fenced off.
Nothing here fails, whatever the text: what is no id, time or amount is NULL.
"""

from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

BLANKS = " \t\r\n\f\v"

# Ends are \z, as $ lets a line end pass. Canonical only: 0012, 12 and +12 may be three people's card numbers.
# A point with nothing but zeros after it is how a table with missing values writes whole numbers.
WHOLE = r"\A(?:0|-?[1-9][0-9]*)(?:\.0*)?\z"
# With a point or a signed exponent, as Java, R and numpy write large numbers: 12e4 may be a hexadecimal id.
SCIENTIFIC = r"\A-?[1-9](?:[0-9]*\.[0-9]*[eE]\+?|[0-9]*[eE]\+)[0-9]{1,2}\z"
# Doubles below this hold every integer exactly.
EXACT_BELOW = 2**53

# Nothing with a comma: 1,234 is a thousand to some and one and a bit to others. Nor with an exponent, which
# Sail casts to no decimal.
DECIMAL = r"\A[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\z"
AMOUNT_TYPE = "decimal(18,2)"

_DATE = r"(?:19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
_HOUR_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND = r":[0-5][0-9](?:\.[0-9]{1,9})?"
_UTC = r"Z|UTC|GMT"
_LONG_OFFSET = r"[+-](?:(?:0[0-9]|1[0-7]):[0-5][0-9]|18:00)"
_SHORT_OFFSET = r"[+-](?:(?:0[0-9]|1[0-7])(?:[0-5][0-9])?|18(?:00)?)"
# What both engines cast as it stands: Sail casts no zone without seconds before it.
PLAIN_TIME = rf"\A{_DATE}(?:[T ]{_HOUR_MINUTE}(?:{_SECOND}(?:Z|{_LONG_OFFSET})?)?)?\z"
# Upper-case spellings of the same: what to put where, in this order, to make them plain. A short offset needs
# a clock: 2026-03-01-10 may as well be an hour.
ANY_TIME = (
    rf"\A{_DATE}(?: ?(?:{_UTC}|{_LONG_OFFSET})|[T ]{_HOUR_MINUTE}(?:{_SECOND})?"
    rf"(?: ?(?:{_UTC}|{_LONG_OFFSET}|{_SHORT_OFFSET}))?)\z"
)
SPELLED_OUT = (
    (rf" ?(?:{_UTC})\z", "Z"),
    (r" ([+-][0-9:]+)\z", "$1"),
    (r"(:[0-9.]+[+-][0-9]{2})([0-9]{2})\z", "$1:$2"),
    (r"(:[0-9.]+[+-][0-9]{2})\z", "$1:00"),
    (r"\A([0-9-]{10})(Z|[+-][0-9:]+)\z", "$1 00:00:00$2"),
    (r"\A(.{13}:[0-9]{2})(Z|[+-][0-9:]+)\z", "$1:00$2"),
)

# 2000-01-01 to 2100, exclusive, in microseconds: there seconds, milliseconds, microseconds and nanoseconds
# differ in their lengths, which depend on the first digit alone.
EPOCH_FROM = 946_684_800_000_000
EPOCH_BEFORE = 4_102_444_800_000_000
EPOCH_NUMBER = r"\A(?:9[0-9]{8}|[1-4][0-9]{9})(?:[0-9]{3}){0,3}(?:\.[0-9]*)?\z"


def trimmed(text: Column) -> Column:
    """The text without blanks and line ends around it."""
    return F.btrim(text, F.lit(BLANKS))


def user_id(text: Column) -> Column:
    """The bigint that a text is the canonical spelling of, else NULL.

    Canonical is ``0`` or ``-?[1-9][0-9]*`` within 64 bits, so that no two ids become one user: ``0012``,
    ``+7`` and ``-0`` are none. Whole floats are: ``17850.0``; also ``1.785E7`` and ``1e+05`` where the value
    is whole and below 2^53.

    Args:
        text: string; blanks around it do not count.
    """
    text = trimmed(text)
    return F.when(text.rlike(WHOLE), F.substring_index(text, ".", 1).try_cast("bigint")).when(
        text.rlike(SCIENTIFIC), _whole_scientific(text)
    )


def event_ts(text: Column) -> Column:
    """The moment that a text says, to the microsecond, else NULL; further digits are cut off.

    Either ISO 8601 of the years 1970 to 9999: a date, or a date and a time to the minute or finer, with
    nothing for UTC, ``Z``, ``UTC``, ``GMT`` or an offset (``+02:00``, ``+0200``, ``+02``), a blank before it
    or not, in either case of letters. Or a number since 1970 UTC: seconds, milliseconds, microseconds or
    nanoseconds, told apart by magnitude for moments from 2000 to 2100; a number outside these is none.

    Args:
        text: string; blanks around it do not count.
    """
    text = trimmed(text)
    # Each part once and no coalesce, which Sail writes out twice: the expression is looked at wherever the
    # time is, and planning must not take longer than reading.
    return (
        F.when(text.rlike(PLAIN_TIME), text.try_cast("timestamp"))
        .when(F.upper(text).rlike(ANY_TIME), _spelled_out(F.upper(text)).try_cast("timestamp"))
        # Never to_timestamp of a number: Sail counts microseconds there, Apache Spark seconds.
        .when(_is_epoch(text), F.timestamp_micros(_epoch_micros(text)))
    )


def amount(text: Column) -> Column:
    """The decimal(18,2) that a text says, halves rounded away from 0, else NULL.

    Digits with a point or without: ``12.5``, ``-3``, ``.50``. No exponent, no comma, no currency.

    Args:
        text: string; blanks around it do not count.
    """
    text = trimmed(text)
    return F.when(text.rlike(DECIMAL), text.try_cast(AMOUNT_TYPE))


def epoch_unit(text: Column) -> Column:
    """``seconds``, ``milliseconds``, ``microseconds`` or ``nanoseconds`` where ``event_ts`` reads a number.

    Args:
        text: string.

    Returns:
        string; NULL where the text is no such number.
    """
    text = trimmed(text)
    digits = F.length(F.substring_index(text, ".", 1))
    unit = (
        F.when(digits <= 10, "seconds")
        .when(digits <= 13, "milliseconds")
        .when(digits <= 16, "microseconds")
        .otherwise("nanoseconds")
    )
    return F.when(_is_epoch(text), unit)


def _whole_scientific(text: Column) -> Column:
    # As digits, since 17850000.000000001 is whole once it is a double.
    exponent = F.regexp_extract(text, r"([0-9]+)\z", 1).try_cast("int")
    fraction = F.regexp_extract(text, r"\.([0-9]*?)0*[eE]", 1)
    value = text.try_cast("double")
    is_whole = (F.length(fraction) <= exponent) & (F.abs(value) < EXACT_BELOW)
    return F.when(is_whole, value.try_cast("bigint"))


def _spelled_out(text: Column) -> Column:
    """Of ``ANY_TIME``, what both engines cast."""
    return reduce(lambda found, one: F.regexp_replace(found, *one), SPELLED_OUT, text)


def _is_epoch(text: Column) -> Column:
    micros = _epoch_micros(text)
    return text.rlike(EPOCH_NUMBER) & (micros >= EPOCH_FROM) & (micros < EPOCH_BEFORE)


def _epoch_micros(text: Column) -> Column:
    # By digits and not by arithmetic: nothing is rounded, and nothing overflows.
    digits = F.when(text.startswith("9"), 15).otherwise(16)
    return F.rpad(F.replace(text, F.lit("."), F.lit("")), digits, "0").try_cast("bigint")
