"""Bodies to rows: four formats with one meaning, and refusals that name the place."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.serving.features import online_store
from churn_assets.serving.features.online_store import OnlineStore, Snapshot
from churn_assets.serving.scoring.cells import LARGEST
from churn_assets.serving.scoring.payload import FORMATS, Parser
from churn_assets.serving.scoring.replies import BadRequestError, UnavailableError
from churn_assets.tables import FEATURE_COLUMNS, WINDOW_FEATURES
from churn_assets_tests.serving.conftest import FEATURE_DATE, NULLABLE, PUBLISHED, RECORD, Client

AGE = WINDOW_FEATURES.index("account_age_days")
PARSER = Parser(WINDOW_FEATURES)
TAKES_GAPS = Parser(WINDOW_FEATURES, accepts_nan=True)
OF_42, OF_43 = (PUBLISHED[user_id][: len(WINDOW_FEATURES)] for user_id in (42, 43))
ROWS = [[42.0, 15.0, 3.0, 2.0, 180.0, 100.0], [1.5, 1.0, 29.0, 0.0, 1e38, 1e-40]]


def in_format(name: str, rows: list[list[float]], columns: list[str] = WINDOW_FEATURES) -> dict[str, Any]:
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    return {
        "dataframe_records": {"dataframe_records": records},
        "instances": {"instances": records},
        "inputs": {"inputs": records},
        "inputs by column": {"inputs": {name: [row[name] for row in records] for name in columns}},
        "dataframe_split": {"dataframe_split": {"columns": columns, "data": rows}},
    }[name]


WAYS = [*FORMATS, "inputs by column"]


def no_store() -> None:
    return None


def matrix_of(
    body: Any, store: Callable[[], Snapshot | None] = no_store, parser: Parser = PARSER
) -> np.ndarray:
    return parser.rows(body if isinstance(body, bytes) else json.dumps(body).encode(), store).matrix


def refused(body: Any, store: Callable[[], Snapshot | None] = no_store, parser: Parser = PARSER) -> str:
    with pytest.raises(BadRequestError) as raised:
        matrix_of(body, store, parser)
    return str(raised.value)


@pytest.fixture
def store(tmp_path: Path) -> Callable[[], Snapshot | None]:
    online_store.publish(
        tmp_path, list(PUBLISHED), list(PUBLISHED.values()), FEATURE_COLUMNS, FEATURE_DATE, 7, NULLABLE
    )
    return OnlineStore(tmp_path).snapshot


@pytest.mark.parametrize("way", WAYS)
def test_each_format_gives_the_same_rows(way: str):
    assert matrix_of(in_format(way, ROWS)).tolist() == ROWS


@pytest.mark.parametrize("way", WAYS)
def test_columns_may_come_in_any_order(way: str):
    backwards = in_format(way, [row[::-1] for row in ROWS], WINDOW_FEATURES[::-1])

    assert matrix_of(backwards).tolist() == ROWS


def test_whole_numbers_and_fractions_are_the_same_feature():
    assert matrix_of({"inputs": [RECORD]}).tolist() == [[42, 15, 3, 2, 180, 100]]
    assert matrix_of({"inputs": [{**RECORD, "event_count_30d": 42.5}]})[0, 0] == 42.5


def test_one_row_by_column_needs_no_list():
    assert matrix_of({"inputs": RECORD}).tolist() == [[42, 15, 3, 2, 180, 100]]


def test_a_split_may_bring_the_index_that_pandas_wrote():
    body = in_format("dataframe_split", ROWS)
    body["dataframe_split"]["index"] = [7, 8]

    assert matrix_of(body).tolist() == ROWS


def test_what_databricks_clients_send_along_changes_nothing():
    body = {"inputs": [RECORD], "client_request_id": "a", "usage_context": {"team": "b"}}

    assert matrix_of(body).tolist() == [[42, 15, 3, 2, 180, 100]]


single = st.floats(min_value=-LARGEST, max_value=LARGEST, allow_nan=False)


@settings(max_examples=60)
@given(st.lists(st.lists(single, min_size=6, max_size=6), min_size=1, max_size=4), st.sampled_from(WAYS))
def test_every_number_of_single_range_arrives_bit_by_bit(rows: list[list[float]], way: str):
    # Columns of no contract, which any number may be in.
    columns = list("abcdef")

    arrived = matrix_of(in_format(way, rows, columns), parser=Parser(columns))

    assert arrived.tobytes() == b"".join(struct.pack("<6d", *row) for row in rows)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in RECORD.items() if key != name}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", ["many", None, {"n": 1}, [1]], ids=json.dumps)
def test_what_is_no_number_is_refused_by_row_and_field(way: str, value: Any):
    rows: list[list[Any]] = [list(ROWS[0]), list(ROWS[1])]
    rows[1][AGE] = value

    message = refused(in_format(way, rows))

    assert "account_age_days" in message
    assert "[1]" in message


@pytest.mark.parametrize("way", WAYS)
def test_a_field_that_the_model_does_not_know_is_not_looked_at(way: str):
    rows = [[*ROWS[0], "x"], [*ROWS[1], None]]

    assert matrix_of(in_format(way, rows, [*WINDOW_FEATURES, "shoe_size"])).tolist() == ROWS


@pytest.mark.parametrize("way", WAYS)
def test_where_features_are_looked_up_an_unknown_field_is_named_beside_the_known_ones(way: str, store: Any):
    """A misspelt feature would be looked up instead, and nobody would see it."""
    message = refused(in_format(way, [[42, 3]], ["user_id", "days_since_last_evnt"]), store)

    assert "days_since_last_evnt" in message
    assert message.endswith(f"Known fields: user_id, {', '.join(WINDOW_FEATURES)}.")


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_field_is_named_with_its_row(way: str):
    rows = [row[:AGE] + row[AGE + 1 :] for row in ROWS]
    columns = [name for name in WINDOW_FEATURES if name != "account_age_days"]

    assert refused(in_format(way, rows, columns)).startswith("Row 0 lacks account_age_days.")


def test_a_field_that_only_the_second_row_lacks_is_named_with_that_row():
    message = refused({"instances": [RECORD, without("rolling_7d_events")]})

    assert message.startswith("Row 1 lacks rolling_7d_events.")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [1e39, -1e39, 3.5e38])
def test_what_a_single_float_cannot_hold_is_refused_by_row_and_field(way: str, value: float):
    rows = [ROWS[0], [*ROWS[1][:AGE], value, ROWS[1][AGE + 1]]]

    assert refused(in_format(way, rows)).startswith(f"Row 1 has account_age_days = {value:g};")


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_finite_is_refused(way: str, literal: str):
    body = json.dumps(in_format(way, [[*ROWS[0][:AGE], 12345.0, 1.0]])).replace("12345.0", literal)

    assert refused(body.encode())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "The body has none of them; send exactly one of dataframe_records, dataframe_split, inputs"),
        ({"inputs": [RECORD], "instances": [RECORD]}, "The body has inputs and instances; send exactly one"),
        ({"inputs": []}, "inputs has no row"),
        ({"inputs": {}}, "inputs has no row"),
        ({"dataframe_records": []}, "dataframe_records has no row"),
        ({"dataframe_split": {"columns": WINDOW_FEATURES, "data": []}}, "dataframe_split has no row"),
        ({"dataframe_split": {"columns": WINDOW_FEATURES}}, "missing required field `data`"),
        (
            {"dataframe_split": {"columns": WINDOW_FEATURES, "data": [ROWS[0], [1, 2]]}},
            "dataframe_split.data[1] has 2 values; columns has 6",
        ),
        (
            {"dataframe_split": {"columns": ["user_id", "user_id"], "data": [[1, 2]]}},
            "dataframe_split.columns names a column twice",
        ),
        ({"inputs": {"user_id": [1, 2], "account_age_days": [1]}}, "inputs has columns of [1, 2] values"),
        ({"inputs": [RECORD], "messages": []}, "The body has messages, as for a language model"),
        ({"inputs": [[1, 2, 3, 4, 5, 6]]}, "Expected `object`, got `array` - at `$.inputs[0]`"),
        ({"inputs": "all"}, "`$.inputs`"),
        ({"dataframe_records": RECORD}, "Expected `array`, got `object` - at `$.dataframe_records`"),
        ([RECORD], "Expected `object`, got `array`"),
        (None, "Expected `object`, got `null`"),
        ({"inputs": [{"user_id": 2**63}]}, "user_id"),
        ({"inputs": [{"user_id": -(2**63) - 1}]}, "user_id"),
        ({"inputs": [{"user_id": 10**40}]}, "user_id"),
        ({"inputs": [{"user_id": 4.5}]}, "user_id"),
        ({"inputs": [{"user_id": "0042"}]}, 'Row 0 has user_id = "0042"; expected a whole number'),
        ({"inputs": [{"user_id": None}]}, "user_id"),
        ({"dataframe_split": {"columns": ["user_id"], "data": [[10**40]]}}, "user_id"),
        (b"", "truncated"),
        (b'{"inputs": [{"user_id": 4', "truncated"),
        (b"inputs=1", "malformed"),
        (b'{"inputs": [{"user_id": 1}]} {}', "malformed"),
        (b'\xff\xfe{"inputs": 1}', "malformed"),
        (b'{"inputs": [{"\xff": 1}]}', ""),
        (b'{"inputs": [{"user_id": "\xff"}]}', ""),
        (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (b'{"inputs": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", ""),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[' + b'{"a":' * 100_000 + b"1", ""),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_body_that_makes_no_sense_gets_400_with_the_reason(client: Client, body: Any, message: str):
    answer = client.post_bytes(body if isinstance(body, bytes) else json.dumps(body))

    assert answer.status_code == 400
    assert answer.json().keys() == {"error_code", "message"}
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert message in answer.json()["message"]
    assert "\n" not in answer.json()["message"]


def at(way: str) -> str:
    return {
        "dataframe_records": "$.dataframe_records[1].days_since_last_event",
        "instances": "$.instances[1].days_since_last_event",
        "inputs": "$.inputs[1].days_since_last_event",
        "inputs by column": "$.inputs.days_since_last_event[1]",
        "dataframe_split": "$.dataframe_split.data[1][2]",
    }[way]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-3, "-3; expected 0 to 29"),
        (29.5, "29.5; expected 0 to 29"),
        ("30", '"30"; expected 0 to 29'),
        (math.inf, "Infinity; expected 0 to 29"),
        (math.nan, "NaN; expected a number, or a user_id to look it up by"),
        (None, "null; expected a number, or a user_id to look it up by"),
        ("soon", '"soon"; expected a number'),
        ([3], "a list; expected a number"),
    ],
    ids=str,
)
def test_a_refusal_names_row_field_value_and_place_as_they_were_sent(way: str, value: Any, said: str):
    rows: list[list[Any]] = [list(ROWS[0]), list(ROWS[0])]
    rows[1][2] = value

    assert refused(in_format(way, rows)) == f"Row 1 has days_since_last_event = {said} - at `{at(way)}`."


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"data": [ROWS[0]], "index": [0, 1, 2]}, None),
        ({"data": ROWS, "index": {"a": 0, "b": 1}}, None),
        ({"data": ROWS, "index": [0]}, "dataframe_split.index has 1 values; data has 2 rows."),
        ({"data": ROWS, "index": 2}, "Expected `array`, got `int` - at `$.dataframe_split.index`."),
        (
            {"data": [[*ROWS[0][:5], -1]], "index": [0, 1]},
            "Row 0 has rolling_7d_events = -1; expected 0 or more - at `$.dataframe_split.data[0][5]`.",
        ),
        (
            {"data": [ROWS[0], ROWS[1][:5]]},
            (
                "Row 1 lacks rolling_7d_events. Send it, or a user_id to look it up by - "
                "dataframe_split.data[1] has 5 values; columns has 6."
            ),
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_index_counts_the_rows_and_one_row_stands_for_all_of_it(
    split: dict[str, Any], message: str | None
):
    body = {"dataframe_split": {"columns": WINDOW_FEATURES, **split}}
    if message:
        assert refused(body) == message
    else:
        assert len(matrix_of(body)) == len(split["index"])


def test_a_model_that_takes_gaps_gets_them_and_never_a_row_of_nothing_else():
    body = {"inputs": [RECORD, {**RECORD, "account_age_days": None}, without("account_age_days")]}

    matrix = matrix_of(body, parser=TAKES_GAPS)

    assert np.isnan(matrix[:, AGE]).tolist() == [False, True, True]
    assert np.isnan(matrix).sum() == 2
    assert refused({"inputs": [RECORD, dict.fromkeys(RECORD)]}, parser=TAKES_GAPS).startswith(
        "Row 1 has event_count_30d = null; expected a number, or a user_id"
    )
    assert refused({"inputs": [without("account_age_days")]}, parser=TAKES_GAPS).startswith("Row 0 lacks")


def test_a_gap_beside_a_user_id_is_looked_up_by_every_model(store: Any):
    body = {"inputs": [{**RECORD, "user_id": "43", "account_age_days": None}]}

    assert matrix_of(body, store)[0, AGE] == matrix_of(body, store, TAKES_GAPS)[0, AGE] == 400


@pytest.mark.parametrize(
    ("params", "explain"),
    [(None, False), ({}, False), ({"explain": False}, False), ({"explain": True, "top": 3}, True)],
)
def test_the_models_own_parameter_is_read_and_others_are_not(params: Any, explain: bool):
    body = json.dumps({"inputs": [RECORD], "params": params}).encode()

    assert Parser(WINDOW_FEATURES, explains=True).rows(body, no_store).explain == explain
    assert PARSER.rows(body, no_store).explain is False


def test_a_user_is_looked_up_and_the_date_of_the_features_is_known(store: Any):
    rows = PARSER.rows(b'{"dataframe_records": [{"user_id": 43}, {"user_id": 42}]}', store)

    assert rows.matrix.tolist() == [OF_43, OF_42]
    assert rows.looked_up is not None
    assert rows.looked_up.feature_date == FEATURE_DATE


def test_what_was_sent_wins_over_what_is_published(store: Any):
    matrix = matrix_of({"inputs": [{"user_id": 43, "days_since_last_event": 0}]}, store)

    assert matrix.tolist() == [[1, 1, 0, 0, 400, 0]]


@pytest.mark.parametrize("way", WAYS[:-1])
def test_rows_with_and_without_features_mix(way: str, store: Any):
    records = [{"user_id": 43}, RECORD, {**RECORD, "user_id": 99}]
    body = {way: records}
    if way == "dataframe_split":
        columns = ["user_id", "account_age_days"]
        body = {way: {"columns": columns, "data": [[43, 1], [42, 2]]}}
        assert matrix_of(body, store).tolist() == [[1, 1, 28, 0, 1, 0], [42, 15, 3, 2, 2, 100]]
        return

    rows = PARSER.rows(json.dumps(body).encode(), store)

    assert rows.matrix.tolist() == [OF_43, OF_42, OF_42]
    assert rows.unknown == {}


def test_a_user_of_whom_nothing_is_known_is_told_by_its_row(store: Any):
    rows = PARSER.rows(b'{"inputs": {"user_id": [42, 7, 43, 8]}}', store)

    assert rows.unknown == {1: 7, 3: 8}
    assert rows.matrix[[0, 2]].tolist() == [OF_42, OF_43]


def test_whole_features_of_an_unknown_user_need_no_lookup():
    rows = PARSER.rows(json.dumps({"inputs": [{**RECORD, "user_id": 7}]}).encode(), no_store)

    assert (rows.matrix.tolist(), rows.unknown, rows.looked_up) == ([OF_42], {}, None)


def test_what_is_too_large_is_named_with_its_row_among_unknown_users_too(store: Any):
    body = {"inputs": [{"user_id": 7}, {"user_id": 42, "account_age_days": 1e39}]}

    assert refused(body, store).startswith("Row 1 has account_age_days = 1e+39;")


def test_without_published_features_a_lookup_says_what_to_do():
    with pytest.raises(UnavailableError, match="Materialise online_user_features"):
        matrix_of({"inputs": [{"user_id": 42}]})


def test_features_that_the_model_does_not_want_are_not_looked_up(store: Any):
    with pytest.raises(UnavailableError, match="this model wants a, b"):
        Parser(["a", "b"]).rows(b'{"inputs": [{"user_id": 42}]}', store)


def test_a_model_from_before_a_feature_came_finds_its_own_among_those_published(store: Any):
    older = Parser(["account_age_days", "event_count_30d"])

    matrix = matrix_of({"inputs": [{"user_id": 43}, {"user_id": 42, "event_count_30d": 1}]}, store, older)

    assert matrix.tolist() == [[400, 1], [180, 1]]
