"""Who is to be erased, and which rows, lines and texts are theirs, however their ids are spelled there."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from churn_assets.contracts import Table
from churn_assets.transforms.json_lines import line_reader
from churn_assets.transforms.values import BLANKS

# Its functions are made at run time: type checkers do not know them.
pc: Any = pyarrow.compute

USER_ID, SOURCE_USER_ID = "user_id", "source_user_id"

# Shorter ones, and plain numbers, occur by chance.
TELLING_LENGTH = 8

# What a text with an id in it is bounded by: 17 is not in 170, nor a@b.org in aa@b.org.
_BEFORE, _AFTER = r"(?<![\w.@+-])", r"(?![\w@+-]|\.\w)"
# The user_id that a line names which is no JSON.
_NAMED = re.compile(r'"user_id"\s*:\s*"?\s*([^",}\s]+)')

ERASED = "[erased]"

# Files are looked through in pieces that overlap by more than any id has.
CHUNK, OVERLAP = 1 << 24, 4096

Mask = np.ndarray


@dataclass(frozen=True)
class People:
    """The ids of all users of one request."""

    user_ids: frozenset[int]
    source_ids: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.user_ids or self.source_ids)

    def is_user(self, text: str | None) -> bool:
        """Whether a landed user_id is one of theirs: 007, 7.0 and 0.7e1 are 7, too.

        More than cleaning takes for 7: what may be meant goes.
        """
        try:
            return text is not None and Decimal(text.strip(BLANKS)) in self._numbers
        except InvalidOperation:
            return False

    def is_source(self, text: str | None) -> bool:
        """Whether a landed source_user_id is one of theirs."""
        return text is not None and text.strip(BLANKS) in self.source_ids

    def of_rows(self, table: Table, rows: pa.Table) -> Mask:
        """Tell which rows are theirs, by the contract.

        Args:
            table: the contract.
            rows: those of the table's ``personal_columns`` that are there.
        """
        found = np.zeros(len(rows), dtype=np.bool_)
        names = rows.column_names
        if USER_ID in names:
            is_text = pa.types.is_string(rows.schema.field(USER_ID).type)
            found |= _matches(rows[USER_ID], self.is_user if is_text else self.user_ids.__contains__)
        if SOURCE_USER_ID in names:
            found |= _matches(rows[SOURCE_USER_ID], self.is_source)
        if table.lines_column:
            has_line = rows[table.lines_column].is_valid().to_numpy()
            places = np.flatnonzero(has_line & ~found)
            found[places] = self.of_lines(rows[table.lines_column].take(pa.array(places)).combine_chunks())
        return found

    def of_lines(self, lines: pa.Array) -> Mask:
        """Tell which landed lines are theirs."""
        if not len(lines):
            return np.zeros(0, dtype=np.bool_)
        batch = pa.RecordBatch.from_arrays([lines.cast(pa.string())], ["line"])
        read = next(line_reader(["line"])(iter([batch])))
        # In the place of a user_id stands, in some lines, the id as its owner knows it.
        found = _matches(read[USER_ID], lambda text: self.is_user(text) or self.is_source(text))
        found |= _matches(read[SOURCE_USER_ID], self.is_source)
        return found | _matches(read["_corrupt_record"], self.is_named_in)

    def is_named_in(self, text: str | None) -> bool:
        """Whether a line that is no JSON names one of them."""
        if text is None:
            return False
        return any(map(self.is_user, _NAMED.findall(text))) or bool(self._in_pieces.search(text))

    def mentioned(self, lines: pa.Array | pa.ChunkedArray) -> Mask:
        """Tell which lines have one of the source ids anywhere in them."""
        return _matches(lines, lambda text: text is not None and self._is_mentioned(text))

    def is_mentioned_in(self, file: Path) -> bool:
        """Whether a file has one of the source ids anywhere in its bytes."""
        before = b""
        with file.open("rb") as opened:
            while block := opened.read(CHUNK):
                if self._is_mentioned((before + block).decode("utf-8", errors="replace")):
                    return True
                before = block[-OVERLAP:]
        return False

    def redacted(self, text: str) -> str:
        """Return a text of people or programs without the ids: a log, a message, a page."""
        text = self._telling.sub(ERASED, self._in_pieces.sub(ERASED, text))
        return self._said_of_a_user.sub(rf"\g<1>{ERASED}", text)

    def may_be_in(self, text: str) -> bool:
        """Whether one of the ids, or a number that reads like one, is in a text."""
        # Looked for as they are first: a pattern that begins with what must not be there is slow.
        return any(way in text for way in self._ways) and bool(self._any.search(text))

    def _is_mentioned(self, text: str) -> bool:
        return any(way in text for way in self._spelled) and bool(self._telling.search(text))

    @cached_property
    def _numbers(self) -> frozenset[Decimal]:
        return frozenset(map(Decimal, self.user_ids))

    @cached_property
    def _spelled(self) -> list[str]:
        """The source ids as they are, and as JSON and Markdown have them."""
        spellings = {
            way
            for one in self.source_ids
            for way in (one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1])
        }
        return sorted(spellings, key=lambda way: (-len(way), way))

    @cached_property
    def _telling(self) -> re.Pattern[str]:
        return _one_of(
            re.escape(way) for way in self._spelled if len(way) >= TELLING_LENGTH and not way.isdigit()
        )

    @cached_property
    def _in_pieces(self) -> re.Pattern[str]:
        named = "|".join(map(re.escape, self._spelled)) or r"(?!)"
        return re.compile(rf'(?<=source_user_id": ")(?:{named})(?=")|(?<=source_user_id":")(?:{named})(?=")')

    @cached_property
    def _said_of_a_user(self) -> re.Pattern[str]:
        numbers = "|".join(str(one) for one in sorted(self.user_ids)) or r"(?!)"
        return re.compile(
            rf"(\buser(?:[_ ]?ids?)?(?:\\?[\"'`=:\s|]){{1,6}})(?:{numbers})(?:\.0)?(?![\w])", re.IGNORECASE
        )

    @cached_property
    def _any(self) -> re.Pattern[str]:
        numbers = (rf"{one}(?:\.0*)?" for one in sorted(self.user_ids))
        return _one_of((*map(re.escape, self._spelled), *numbers))

    @cached_property
    def _ways(self) -> list[str]:
        return [*self._spelled, *(str(one) for one in sorted(self.user_ids))]


def _matches(column: pa.Array | pa.ChunkedArray, is_theirs: Callable[[Any], bool]) -> Mask:
    # Each value once: a user has many rows, and a day few.
    values = column.unique()
    theirs = [value for value in values if is_theirs(value.as_py())]
    if not theirs:
        return np.zeros(len(column), dtype=np.bool_)
    wanted = pa.array([value.as_py() for value in theirs], column.type)
    return pc.is_in(column, wanted).to_numpy(zero_copy_only=False)


def _one_of(ways: Iterable[str]) -> re.Pattern[str]:
    named = "|".join(ways)
    return re.compile(rf"{_BEFORE}(?:{named}){_AFTER}" if named else r"(?!)")
