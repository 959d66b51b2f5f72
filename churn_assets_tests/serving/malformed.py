"""Bodies that are no request: no JSON, JSON of another kind, and requests with something wrong in them."""

import json
import random
from collections.abc import Iterator
from typing import Any

from churn_assets.tables import WINDOW_FEATURES

RECORD = dict.fromkeys(WINDOW_FEATURES, 1.0)
NO_NUMBERS: list[Any] = ["x", None, "true", [], {}, [1], {"a": 1}, 10**400, "1,0", "NaN"]
NO_BODIES: list[Any] = [None, True, 1, 1.5, "x", [], {}, [RECORD], {"inputs": None}, {"inputs": 1}]


def malformed_bodies(count: int, seed: int = 0) -> Iterator[bytes]:
    """So many, the same ones for the same seed."""
    chance = random.Random(seed)
    kinds = [_noise, _truncated, _flipped, _wrong_value, _wrong_field, _wrong_shape, _wrong_body, _deep]
    for number in range(count):
        yield kinds[number % len(kinds)](chance)


def _good(chance: random.Random) -> bytes:
    return json.dumps({"dataframe_records": [RECORD] * chance.randint(1, 20)}).encode()


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 2000))


def _truncated(chance: random.Random) -> bytes:
    good = _good(chance)
    return good[: chance.randrange(len(good))]


def _flipped(chance: random.Random) -> bytes:
    # In the name of the format: inside a number or a name the body might still make sense.
    good = bytearray(_good(chance))
    good[chance.randrange(1, 20)] ^= 1 << chance.randrange(8)
    return bytes(good)


def _wrong_value(chance: random.Random) -> bytes:
    record = {**RECORD, chance.choice(WINDOW_FEATURES): chance.choice(NO_NUMBERS)}
    return json.dumps(
        {chance.choice(["inputs", "instances", "dataframe_records"]): [RECORD, record]}
    ).encode()


def _wrong_field(chance: random.Random) -> bytes:
    name = "".join(chance.choices('abcé\u2028\U0001f600"\\', k=chance.randint(1, 100)))
    # Beside a user to look up: it might be a misspelt feature.
    return json.dumps(
        {"inputs": [{"user_id": 1, name + "_": 1}]}, ensure_ascii=chance.random() < 0.5
    ).encode()


def _wrong_shape(chance: random.Random) -> bytes:
    data = [[1.0] * chance.choice([0, 1, 5, 7, 50]) for _ in range(chance.randint(1, 20))]
    return json.dumps({"dataframe_split": {"columns": WINDOW_FEATURES, "data": data}}).encode()


def _wrong_body(chance: random.Random) -> bytes:
    return json.dumps(chance.choice(NO_BODIES)).encode()


def _deep(chance: random.Random) -> bytes:
    opening = chance.choice([b"[", b'{"inputs":'])
    return opening * chance.randint(1, 5000)
