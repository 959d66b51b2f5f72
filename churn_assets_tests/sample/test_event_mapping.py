"""What an option may be, and what ids and times become; equal on every engine."""

import datetime as dt
import hashlib
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as papq
import pytest

from churn_assets.errors import ImportFileError


def times(*values: str) -> str:
    return "user_id,event_ts\n" + "".join(f'1,"{value}"\n' for value in values)


def users(*values: str) -> str:
    return "user_id,event_ts\n" + "".join(f'"{value}",2026-01-01\n' for value in values)


def parquet_column(importing, name: str, values: pa.Array, **options) -> list:
    columns = {"user_id": pa.repeat(1, len(values)), "event_ts": pa.repeat("2026-01-01", len(values))}
    papq.write_table(pa.table({**columns, name: values}), importing.folder / "a.parquet")
    importing("a.parquet", **options)
    return [event.get(name) for event in importing.events()]


def test_whole_numbers_are_user_ids_however_they_are_written(importing):
    texts = ["17850", "17850.0", "17850.", " 17850 ", "1.785E4", "1.785e+04", "-5", "9223372036854775807"]
    ids = importing.column("user_id", users(*texts))
    assert ids == [17850, 17850, 17850, 17850, 17850, 17850, -5, 9223372036854775807]


def test_a_missing_user_id_is_left_out(importing):
    assert importing.column("user_id", users("1", "", "  ")) == [1, None, None]


@pytest.mark.parametrize(
    "value", ["me@example.com", "12.5", "12e4", "9223372036854775808", "1.5E300", "0x1F", "nan"]
)
def test_any_other_user_id_is_refused_with_its_row_unless_hashed(importing, value):
    with pytest.raises(ImportFileError) as caught:
        importing.column("user_id", users("1", value))
    assert str(caught.value) == (
        f"{importing.folder}/a.csv row 2: user_id {value!r} is no whole number of 64 bits. "
        "Use --hash-user-id to make one of every id that is none."
    )
    assert list(importing.landing.iterdir()) == []
    first, second = importing.column("user_id", users("1", value), hash_user_id=True)
    assert first == 1
    assert isinstance(second, int)


def test_hashed_ids_are_xxhash64_of_the_text_on_every_engine(importing):
    texts = [
        "a@b.c",
        " a@b.c ",
        "550e8400-e29b-41d4-a716-446655440000",
        "x" * 40,
        "Zoë",
        "日本",
        "17850.0",
        "",
    ]
    assert importing.column("user_id", users(*texts), hash_user_id=True) == [
        2035697172521169185,
        2035697172521169185,
        6602470586509939326,
        -5348608777870439244,
        8109273077974782866,
        5255273406210089560,
        17850,
        None,
    ]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([17850, None], pa.int64()),
        pa.array([17850, None], pa.uint16()),
        pa.array([17850, None], pa.uint64()),
        pa.array([17850.0, None], pa.float64()),
        pa.array([17850.0, float("nan")], pa.float64()),
        pa.array([17850.0, None], pa.float32()),
        pa.array([Decimal(17850), None], pa.decimal128(38, 2)),
        pa.array(["17850.0", None], pa.large_string()),
        pa.array(["17850", None]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_user_ids_of_every_parquet_type(importing, values):
    assert parquet_column(importing, "user_id", values) == [17850, None]


def test_a_large_float_is_not_rounded_into_another_user(importing):
    values = pa.array([12345678901.0, 2.0**53])
    with pytest.raises(ImportFileError, match="row 2: user_id"):
        parquet_column(importing, "user_id", values)


def test_an_unsigned_id_beyond_64_bits_with_a_sign_is_not_wrapped_into_a_negative_one(importing):
    with pytest.raises(ImportFileError, match="row 1: user_id '9223372036854775813'"):
        parquet_column(importing, "user_id", pa.array([2**63 + 5], pa.uint64()))


def test_every_time_that_spark_can_cast_lands_as_iso_8601_in_utc(importing):
    assert importing.column(
        "event_ts",
        times(
            "2010-12-01 08:26:00",
            "2010-12-01T08:26:00.5Z",
            "2010-12-01T08:26:00+02:00",
            "2010-12-01 8:26",
            "2010-12-01",
            "2010-12-01 08:26:00.1234567",
        ),
    ) == [
        "2010-12-01T08:26:00.000000Z",
        "2010-12-01T08:26:00.500000Z",
        "2010-12-01T06:26:00.000000Z",
        "2010-12-01T08:26:00.000000Z",
        "2010-12-01T00:00:00.000000Z",
        "2010-12-01T08:26:00.123456Z",
    ]


def test_a_time_that_is_none_lands_as_it_is(importing):
    values = ["12/1/2010 8:26", "soon", "2010-02-30", "+12345-01-01", "-0044-03-15", "0", "86400"]
    assert importing.column("event_ts", times("2026-01-01", *values))[1:] == values


def test_a_time_of_day_is_not_taken_for_todays(importing):
    values = ["12:30:00", "8:26", "T12:30"]
    assert importing.column("event_ts", times("2026-01-01", *values))[1:] == values


def test_the_report_counts_rows_that_will_be_quarantined(importing):
    importing.write("a.csv", "user_id,event_ts,id\n1,,\n,soon,x\n3,2026-01-01,y\n")
    report = importing("a.csv", event_id="id")
    assert (report.rows, report.without_event_id, report.without_user_id, report.without_event_ts) == (
        3,
        1,
        1,
        2,
    )


@pytest.mark.parametrize(
    "value",
    [
        pa.array([dt.datetime(2010, 12, 1, 8, 26)], pa.timestamp("us")),  # noqa: DTZ001 - without a zone is the point
        pa.array([dt.datetime(2010, 12, 1, 8, 26)], pa.timestamp("ns")),  # noqa: DTZ001 - as above
        pa.array([dt.datetime(2010, 12, 1, 8, 26, tzinfo=dt.UTC)], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([1291191960], pa.int64()),
        pa.array([1291191960.0], pa.float64()),
    ],
    ids=lambda value: str(value.type),
)
def test_times_of_every_parquet_type(importing, value):
    assert parquet_column(importing, "event_ts", value) == ["2010-12-01T08:26:00.000000Z"]


def test_a_parquet_date_is_its_midnight(importing):
    value = pa.array([dt.date(2010, 12, 1)])
    assert parquet_column(importing, "event_ts", value) == ["2010-12-01T00:00:00.000000Z"]


def test_numbers_and_types_that_are_no_time_land_as_text(importing):
    assert parquet_column(importing, "event_ts", pa.array([float("nan"), None, 1.7e9]))[:2] == ["NaN", None]


def test_a_type_that_has_no_cast_to_a_time_is_no_time(importing):
    with pytest.raises(
        ImportFileError, match="None of 2 rows is usable, so nothing has landed: 0 have no user"
    ):
        parquet_column(importing, "event_ts", pa.array([True, None]))


def test_an_event_id_may_be_several_columns(importing):
    content = 'user_id,event_ts,a,b\n1,2026-01-01,x,y\n1,,"x,y",z\n1,,x,"y,z"\n1,,x,\n'
    ids = importing.column("event_id", content, event_id="a,b")
    assert ids == ["x,y", r"x\,y,z", r"x,y\,z", None]


def test_a_column_may_have_any_name(importing):
    content = 'user_id,event_ts,"a,b","c.d","e`f"\n1,2026-01-01,x,y,z\n'
    options = {"event_id": "a,b", "event_type": "c.d", "country": "e`f"}
    importing.column("event_id", content, **options)
    assert [importing.events()[0][name] for name in ("event_id", "event_type", "country")] == ["x", "y", "z"]


def test_a_value_after_an_equals_sign_is_a_constant(importing):
    assert importing.column("country", users("1", "2"), country="=user_id") == ["user_id", "user_id"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_constants_alone_still_give_an_event_a_row(importing, name):
    importing.write("a.csv", "x\n1\n2\n")
    importing.write("a.jsonl", '{"x": 1}\n{"x": 2}\n')
    papq.write_table(pa.table({"x": [1, 2]}), importing.folder / "a.parquet")
    importing(name, user_id="=7", event_ts="=2026-01-01")
    assert [event["user_id"] for event in importing.events()] == [7, 7]


def test_a_value_in_parentheses_is_sql(importing):
    content = "user_id,event_ts\nu-0007,12/31/2025 23:59\n"
    importing.write("a.csv", content)
    importing(
        "a.csv",
        user_id="(bigint(substr(user_id, 3)))",
        event_ts="(to_timestamp(event_ts, 'M/d/yyyy H:mm'))",
        event_type="(CASE WHEN USER_ID LIKE 'u%' THEN 'a' ELSE 'b' END)",
    )
    [event] = importing.events()
    assert event["user_id"] == 7
    assert event["event_ts"] == "2025-12-31T23:59:00.000000Z"
    assert event["event_type"] == "a"


@pytest.mark.parametrize(
    "expression", ["(nope)", "(user_id +)", "(foo(user_id))", "(user_id; drop table x)", "()"]
)
def test_bad_sql_is_an_error_in_one_line_that_names_the_option_and_the_columns(importing, expression):
    with pytest.raises(ImportFileError) as caught:
        importing.column("country", users("1"), country=expression)
    message = str(caught.value)
    assert message.startswith(
        f"--country {expression} is no SQL expression over the columns user_id, event_ts: "
    )
    assert "\n" not in message
    assert len(message) < 400


def test_an_expression_that_fails_on_a_row_is_an_error_in_one_line(importing):
    with pytest.raises(ImportFileError, match=r"The options fail on rows of .*a\.csv: .* try_cast") as caught:
        importing.column("country", users("1"), country="(cast(concat(user_id, 'x') as int))")
    assert "\n" not in str(caught.value)
    assert list(importing.landing.iterdir()) == []


def test_an_expression_that_multiplies_rows_is_refused(importing):
    with pytest.raises(ImportFileError, match=r"make 4 events of 2 rows|generator is not supported"):
        importing.column("country", users("1", "2"), country="(explode(array('a', 'b')))")


@pytest.mark.parametrize("option", ["user_id", "event_ts", "event_id", "event_type", "country"])
def test_an_unknown_column_is_named_with_its_option_and_those_there_are(importing, option):
    with pytest.raises(ImportFileError) as caught:
        importing.column("country", users("1"), **{option: "Usr_Id"})
    assert str(caught.value) == (
        f"{importing.folder}/a.csv has no column 'Usr_Id' for --{option.replace('_', '-')}. "
        "It has user_id, event_ts. "
        "Name one of these, =VALUE for a constant, or a SQL expression in parentheses."
    )


def test_one_event_id_for_all_rows_is_refused(importing):
    with pytest.raises(ImportFileError, match="--event-id =x would give all rows one id"):
        importing.column("event_id", users("1"), event_id="=x")


def test_amounts_of_every_type_land_as_text_to_two_places_where_they_are_numbers(importing):
    doubles = pa.array([12.345, -3.0, 1e7 + 0.5, float("nan"), None])
    assert parquet_column(importing, "amount", doubles, amount="amount") == [
        *("12.35", "-3.00", "10000000.50", None, None)
    ]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("(CAST(count AS DECIMAL(18,3)) * CAST(price AS DECIMAL(18,3)))", ["0.38", "-10.00"]),
        ("=5", ["5", "5"]),
        ("price", ["0.125", "5"]),
        ("note", ["much", None]),
    ],
)
def test_an_amount_is_a_column_a_constant_or_an_expression_and_text_lands_as_it_is(
    importing, option, expected
):
    rows = "user_id,event_ts,count,price,note\n1,2026-01-01,3,0.125, much \n1,2026-01-02,-2,5,\n"
    assert importing.column("amount", rows, amount=option) == expected


def test_what_is_no_amount_is_counted_and_said(importing):
    rows = 'user_id,event_ts,paid\n1,2026-01-01,12.5\n1,2026-01-02,\n1,2026-01-03,"1.234,56"\n'
    importing.write("a.csv", rows)
    report = importing("a.csv", amount="paid")
    assert report.unreadable_amounts == 1
    assert any(warning.startswith("1 rows have an amount that is no number") for warning in report.warnings)


def test_amounts_tell_rows_apart_that_are_equal_otherwise(importing):
    rows = "user_id,event_ts,paid\n1,2026-01-01,1\n1,2026-01-01,2\n"
    first, second = importing.column("event_id", rows, amount="paid")
    assert (first[32:], second[32:]) == ("-1", "-1")
    assert first != second


def test_without_amounts_ids_are_those_of_releases_that_had_none(importing):
    content = "1:1" + "16:1767225600000000" + "-" + "-"
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    rows = "user_id,event_ts\n1,2026-01-01\n1,2026-01-01\n"
    assert importing.column("event_id", rows) == [f"{digest}-1", f"{digest}-2"]
