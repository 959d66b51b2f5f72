"""User ids and event times from text: one set of rules, for landed lines and for imported files.

Sail and Apache Spark agree on every expression here; where their casts differ, the cast is fenced off. Nothing
here fails, whatever the text: what is no id and no time is NULL.
"""

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

_DATE = r"(?:19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
_HOUR_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND = r":[0-5][0-9](?:\.[0-9]{1,9})?"
_UTC = r"Z|UTC|GMT"
_LONG_OFFSET = r"[+-](?:(?:0[0-9]|1[0-7]):[0-5][0-9]|18:00)"
_SHORT_OFFSET = r"[+-](?:(?:0[0-9]|1[0-7])(?:[0-5][0-9])?|18(?:00)?)"
# What both engines cast as it stands: Sail casts no zone without seconds before it.
PLAIN_TIME = rf"\A{_DATE}(?:[T ]{_HOUR_MINUTE}(?:{_SECOND}(?:Z|{_LONG_OFFSET})?)?)?\z"
# Of upper-case text: date, clock, zone. A short offset needs a clock: 2026-03-01-10 may as well be an hour.
ANY_TIME = (
    rf"\A({_DATE})(?:([T ]{_HOUR_MINUTE}(?:{_SECOND})?) ?({_UTC}|{_LONG_OFFSET}|{_SHORT_OFFSET})?"
    rf"| ?({_UTC}|{_LONG_OFFSET}))\z"
)

# 2000-01-01 to 2100, exclusive, in microseconds: there the lengths of the four units do not overlap.
EPOCH_FROM = 946_684_800_000_000
EPOCH_BEFORE = 4_102_444_800_000_000
EPOCH_NUMBER = r"\A[1-9][0-9]{8,18}(?:\.[0-9]*)?\z"


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
    said = F.when(text.rlike(PLAIN_TIME), text).otherwise(_spelled_out(F.upper(text)))
    # Never to_timestamp of a number: Sail counts microseconds there, Apache Spark seconds.
    return F.coalesce(said.try_cast("timestamp"), F.timestamp_micros(_epoch_micros(text)))


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
    return F.when(_epoch_micros(text).isNotNull(), unit)


def _whole_scientific(text: Column) -> Column:
    # As digits, since 17850000.000000001 is whole once it is a double.
    exponent = F.regexp_extract(text, r"([0-9]+)\z", 1).try_cast("int")
    fraction = F.regexp_extract(text, r"\.([0-9]*?)0*[eE]", 1)
    value = text.try_cast("double")
    is_whole = (F.length(fraction) <= exponent) & (F.abs(value) < EXACT_BELOW)
    return F.when(is_whole, value.try_cast("bigint"))


def _spelled_out(text: Column) -> Column:
    """Upper-case text as both engines cast it; NULL where it is no time."""
    clock = F.regexp_extract(text, ANY_TIME, 2)
    zone = F.concat(F.regexp_extract(text, ANY_TIME, 3), F.regexp_extract(text, ANY_TIME, 4))
    return F.when(
        text.rlike(ANY_TIME),
        F.concat(
            text.substr(1, 10),
            F.when(clock == "", "T00:00:00")
            .when(F.length(clock) == 6, F.concat(clock, F.lit(":00")))
            .otherwise(clock),
            F.when(zone.isin("Z", "UTC", "GMT"), "Z")
            .when(F.length(zone) == 3, F.concat(zone, F.lit(":00")))
            .when(F.length(zone) == 5, F.concat(zone.substr(1, 3), F.lit(":"), zone.substr(4, 2)))
            .otherwise(zone),
        ),
    )


def _epoch_micros(text: Column) -> Column:
    # By digits and not by arithmetic: nothing is rounded, and nothing overflows.
    whole = F.substring_index(text, ".", 1)
    fraction = F.when(F.contains(text, F.lit(".")), F.substring_index(text, ".", -1)).otherwise("")
    digits = F.length(whole)
    micros = (
        F.when(digits.between(9, 10), F.concat(whole, F.rpad(fraction, 6, "0")))
        .when(digits.between(12, 13), F.concat(whole, F.rpad(fraction, 3, "0")))
        .when(digits.between(15, 16), whole)
        .when(digits.between(18, 19), F.substring(whole, F.lit(1), digits - 3))
    ).try_cast("bigint")
    return F.when(text.rlike(EPOCH_NUMBER) & (micros >= EPOCH_FROM) & (micros < EPOCH_BEFORE), micros)
