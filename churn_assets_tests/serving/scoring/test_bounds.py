"""A body's brackets and commas say how much it would make."""

import json

import pytest

from churn_assets.serving.scoring import bounds
from churn_assets.serving.scoring.bounds import MAX_ROWS, MAX_VALUES, require_bounds
from churn_assets.serving.scoring.replies import TooLargeError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("rows", [b"{}", b"[]"])
def test_more_rows_than_allowed_are_refused_and_just_as_many_are_not(rows: bytes, encoding: str):
    def body(count: int) -> bytes:
        text = '{"inputs":[' + ",".join([rows.decode()] * count) + "]}"
        return text.encode(encoding)

    require_bounds(body(MAX_ROWS))
    with pytest.raises(TooLargeError, match="more than 100,000 rows"):
        require_bounds(body(MAX_ROWS + 20))


def test_more_values_than_allowed_are_refused_and_just_as_many_are_not():
    def body(count: int) -> bytes:
        return b'{"inputs":{"a":[' + b",".join([b"1"] * count) + b"]}}"

    require_bounds(body(MAX_VALUES))
    with pytest.raises(TooLargeError, match="more than 1,000,000 values"):
        require_bounds(body(MAX_VALUES + 20))


def test_what_lies_on_the_border_of_two_parts_is_counted_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bounds, "MAX_VALUES", 50)
    monkeypatch.setattr(bounds, "BYTES_AT_ONCE", 7)
    body = json.dumps({"inputs": {"a": list(range(51))}}).encode()

    require_bounds(body)
    with pytest.raises(TooLargeError):
        require_bounds(body + b",")
