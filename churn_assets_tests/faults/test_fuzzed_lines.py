"""Thousands of damaged lines: each is an event, a duplicate or quarantined, and harms no other."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from churn_assets.tables import EVENTS
from churn_assets_tests.faults.conftest import Count
from churn_assets_tests.faults.lakes import Undisturbed, content, lines_landed, lines_of_bronze
from churn_assets_tests.forked import churn

ODD = (
    b"\x00",
    b"\xff",
    b"\xc3(",
    b"\xed\xa0\x80",
    b"\\u0000",
    b"\\ud800",
    b"\xe2\x80\xa8",
    b"\t",
    b"\r",
    b"'",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"NaN",
    b"1e999",
    b"-0",
    b"null",
    b"9223372036854775808",
    b"\xef\xbb\xbf",
)
VALUES = (
    None,
    True,
    -1,
    0,
    2**63,
    -(2**63),
    1.5,
    1e308,
    "",
    " ",
    "\u00a0",
    "007",
    "7.0",
    "1e3",
    "0x10",
    [],
    {},
    [1],
    "2026-01-32T00:00:00Z",
    "2026-02-30",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "1735689600",
    "1735689600000",
    "2026-01-05T24:00:00Z",
    "2026-01-05T10:00:00+25:00",
    "\u0000",
    "\ud83d\ude00" * 50,
    "=cmd()",
    "a" * 5000,
)
Fuzz = Callable[[random.Random, bytes], bytes]


def odd_bytes(random_: random.Random, line: bytes) -> bytes:
    at = random_.randrange(len(line) + 1)
    return line[:at] + random_.choice(ODD) + line[at + random_.randrange(4) :]


def cut(random_: random.Random, line: bytes) -> bytes:
    return line[: random_.randrange(len(line))] or b" "


def flipped(random_: random.Random, line: bytes) -> bytes:
    at = random_.randrange(len(line))
    return line[:at] + bytes([line[at] ^ (1 << random_.randrange(8))]) + line[at + 1 :]


def other_values(random_: random.Random, line: bytes) -> bytes:
    record = json.loads(line)
    for name in random_.sample(list(record), random_.randint(1, 3)):
        record[name] = random_.choice(VALUES)
    return json.dumps(record, ensure_ascii=random_.random() < 0.5).encode("utf-8", "surrogatepass")


def other_fields(random_: random.Random, line: bytes) -> bytes:
    record = json.loads(line)
    name = random_.choice(list(record))
    value = record.pop(name)
    if random_.random() < 0.5:
        record[
            random_.choice((name.upper(), f" {name}", f"{name}.x", "_raw", "amount", "source_user_id"))
        ] = value
    return json.dumps(record).encode()


def twice_in_one(random_: random.Random, line: bytes) -> bytes:
    return line + random_.choice((b"", b" ", b",", b"\x0b")) + line


FUZZES: tuple[Fuzz, ...] = (odd_bytes, cut, flipped, other_values, other_fields, twice_in_one)


@pytest.mark.parametrize("lines", [600, pytest.param(20_000, marks=pytest.mark.faults)])
def test_each_fuzzed_line_is_kept_and_harms_no_other(
    small: Undisturbed, tmp_path: Path, lines: int, count: Count
) -> None:
    random_ = random.Random(lines)
    settings = small.copy_all(tmp_path)
    landing = Path(settings.landing_root)
    good = [
        line for file in sorted(landing.iterdir()) for line in file.read_bytes().splitlines() if _whole(line)
    ]
    fuzzed = [
        random_.choice(FUZZES)(random_, random_.choice(good)).replace(b"\n", b" ") for _ in range(lines)
    ]
    # Pairs: what is fuzzed once comes fuzzed again under the same id, in the same file or another.
    pairs = [
        random_.choice(FUZZES)(random_, line or b" ").replace(b"\n", b" ") for line in fuzzed if _whole(line)
    ]
    for number in range(5):
        body = b"\n".join([*fuzzed[number::5], *pairs[number::5]])
        (landing / f"fuzzed-{number}.jsonl").write_bytes(body + b"\n")

    ended = churn(settings, "run")

    assert ended.exit_code == 0, ended.err
    assert not ended.has_a_traceback
    written = {file.name: file.read_bytes().count(b"\n") for file in landing.glob("fuzzed-*")}
    taken_in = lines_of_bronze(settings)
    assert {name: taken_in[name] for name in written} == written
    assert {name: n for name, n in taken_in.items() if name not in written} == lines_landed(small.landed)
    verified = churn(settings, "verify", "--deep")
    assert verified.exit_code == 0, verified.out + verified.err
    before, after = content(small.settings, EVENTS), content(settings, EVENTS)
    stayed = after[after["event_id"].isin(before["event_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(stayed, before)
    count(
        "lines with damaged bytes, values, fields and ends, alone and in pairs under one id",
        len(fuzzed) + len(pairs),
        "every line in Bronze, and one of event, duplicate, quarantined; no event of before differs",
    )


def _whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict) and len(json.loads(line)) > 3
    except ValueError:
        return False
