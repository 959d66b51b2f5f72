"""Lines that are read together are read as one by one, whatever they hold."""

import json
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.transforms.json_lines import FIELDS, _one_by_one, line_reader

COLUMNS = [*FIELDS, "_rescued_data", "_corrupt_record"]

PRICES = st.decimals(-1_000_000, 1_000_000, places=2, allow_nan=False).map(lambda price: Decimal(str(price)))
VALUES = st.one_of(
    st.text(max_size=8),
    st.integers(-(10**20), 10**20),
    PRICES,
    st.booleans(),
    st.none(),
    st.sampled_from(["-0", "12.50", "1e5", "007", "NaN", "[1]", "2026-03-01T10:00:00Z"]),
)


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, Decimal) else str(value)


@st.composite
def lines(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from([*FIELDS, "other"]), min_size=1, max_size=5))
    space = draw(st.sampled_from(["", " "]))
    members = [f'"{name}":{space}{as_json(draw(VALUES))}' for name in names]
    return draw(st.sampled_from(["{%s}"] * 8 + ["{%s", "[%s]", " {%s} "])) % f",{space}".join(members)


def read(*texts: str) -> dict[str, list[str | None]]:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.string())], ["line"])
    (fields,) = line_reader(["line"])(iter([batch]))
    return {name: fields[name].to_pylist() for name in COLUMNS}


@given(st.lists(lines(), max_size=12))
def test_a_batch_is_read_as_its_lines_one_by_one(texts: list[str]) -> None:
    alone = _one_by_one()(pa.array(texts, pa.string()))

    assert read(*texts) == {name: column.to_pylist() for name, column in zip(COLUMNS, alone, strict=True)}


@pytest.mark.parametrize(
    ("texts", "amounts"),
    [
        (
            ['{"amount":12}', '{"amount":12.5}', '{"amount":0.05}', '{"amount":-3}'],
            ["12", "12.5", "0.05", "-3"],
        ),
        (['{"amount":100}', '{"amount":"12.50"}', '{"amount":null}'], ["100", "12.50", None]),
        (['{"amount":"00"}', '{"amount":0.01}'], ["00", "0.01"]),
        (['{"amount":true}', '{"amount":false}', '{"event_id":"a"}'], ["true", "false", None]),
        (['{"amount":123456789012345678}', '{"amount":1.5}'], ["123456789012345678", "1.5"]),
    ],
)
def test_numbers_and_literals_of_one_field_come_as_they_were_sent(
    texts: list[str], amounts: list[str | None]
) -> None:
    assert read(*texts)["amount"] == amounts


def test_lines_keep_their_place_whatever_is_between_them() -> None:
    texts = ["x", '{"event_id":"a"}', '{"event_id":1e5}', "", '{"event_id":"b"}', '{"event_id":"c","more":1}']

    found = read(*texts)

    assert found["event_id"] == [None, "a", "1e5", None, "b", "c"]
    assert found["_corrupt_record"] == ["x", None, None, "", None, None]
    assert found["_rescued_data"] == [None, None, None, None, None, '{"more":1}']


def test_a_field_that_is_another_type_in_the_next_batch_is_read_there_too() -> None:
    batches = [
        pa.RecordBatch.from_pydict({"line": [f'{{"user_id":{value}}}']}) for value in ("1", '"a"', "2", "2.5")
    ]

    found = [batch["user_id"].to_pylist() for batch in line_reader(["line"])(iter(batches))]

    assert found == [["1"], ["a"], ["2"], ["2.5"]]
