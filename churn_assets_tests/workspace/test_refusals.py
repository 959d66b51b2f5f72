"""README.md names for each refusal of the emulated workspace a test that is there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROW = re.compile(r"^\| .+ \| (?P<source>.+) \| `(?P<file>[\w/.]+)::(?P<test>\w+)` \|$")


def test_every_refusal_has_a_source_or_says_that_it_has_none_and_a_test_that_is_there() -> None:
    lines = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| ")][1:]

    rows = [ROW.match(line) for line in lines]

    assert [line for line, row in zip(lines, rows, strict=True) if row is None] == []
    missing = [
        row["test"]
        for row in rows
        if row and f"def {row['test']}(" not in (HERE.parent / row["file"]).read_text()
    ]
    assert missing == []
