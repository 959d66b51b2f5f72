"""Writes what the page shows into a new SQLite file, from tables that were read already."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from churn_assets.serving.page.store import (
    INDICES,
    SCHEMA,
    About,
    write_columns,
)

ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Content:
    """What a version of the page's store holds.

    Attributes:
        about: overview, dates and counts.
        listed: the columns of ``gold.retention_list`` of one date, ``country`` and ``is_new``.
        users: user_id (sorted), source_user_id, country, first_seen_date, last_seen_date.
        probabilities: a row a user and a column a date of ``about.probability_dates``, in units.
        events: a row a user and a column a day from ``about.first_activity_date`` on.
        reasons: user_id, rank (1 to 3), reason, contribution.
    """

    about: About
    listed: pa.Table
    users: pa.Table
    probabilities: NDArray[np.uint16]
    events: NDArray[np.uint16]
    reasons: pa.Table


def build(content: Content, file: Path) -> None:
    """Write a new file."""
    with closing(sqlite3.connect(file)) as connection:
        # Until it is complete nobody knows of it: a death leaves nothing to play back.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        ids = _Reasons()
        _insert(connection, "listed", _listed_rows(content.listed, ids))
        _insert(connection, "users", _user_rows(content, ids))
        connection.executemany("INSERT INTO reasons VALUES (?, ?, ?)", ids.rows())
        connection.execute("INSERT INTO about VALUES ('about', ?)", (msgspec.json.encode(content.about),))
        write_columns(connection, content.about.countries)
        connection.executescript(INDICES)
        connection.commit()


class _Reasons:
    """The numbers of reasons: users have few different ones."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, bool], int] = {}

    def id_of(self, words: str | None, *, raises: bool) -> int | None:
        return None if words is None else self._ids.setdefault((words, raises), len(self._ids) + 1)

    def rows(self) -> Iterator[tuple[int, str, bool]]:
        for (words, raises), number in self._ids.items():
            yield number, words, raises


def _listed_rows(listed: pa.Table, ids: _Reasons) -> Iterator[tuple[Any, ...]]:
    names = (
        "rank", "user_id", "source_user_id", "assigned_group", "churn_probability", "probability_change",
        "risk_band", "value", "expected_gain", "save_rate",
    )  # fmt: skip
    for batch in listed.to_batches(ROWS_AT_ONCE):
        columns = batch.to_pydict()
        reasons = [
            [ids.id_of(words, raises=True) for words in columns[f"reason_{place}"]] for place in (1, 2, 3)
        ]
        rest = [columns[name] for name in ("model_version", "country", "is_new", "uplift")]
        yield from zip(*(columns[name] for name in names), *reasons, *rest, strict=True)


def _user_rows(content: Content, ids: _Reasons) -> Iterator[tuple[Any, ...]]:
    reasons = _reasons_by_user(content, ids)
    done = 0
    for batch in content.users.to_batches(ROWS_AT_ONCE):
        columns = batch.to_pydict()
        part = slice(done, done + len(batch))
        done += len(batch)
        yield from zip(
            columns["user_id"],
            columns["source_user_id"],
            columns["country"],
            map(_text, columns["first_seen_date"]),
            map(_text, columns["last_seen_date"]),
            map(bytes, content.probabilities[part].astype("<u2")),
            map(bytes, content.events[part].astype("<u2")),
            *(column[part] for column in reasons),
            strict=True,
        )


def _reasons_by_user(content: Content, ids: _Reasons) -> list[list[int | None]]:
    """Return the three reasons of all users, in the order of their rows."""
    found: list[list[int | None]] = [[None] * content.users.num_rows for _ in range(3)]
    user_ids = content.users["user_id"].to_numpy()
    for batch in content.reasons.to_batches(ROWS_AT_ONCE):
        columns = batch.to_pydict()
        places = places_of(user_ids, batch["user_id"].to_numpy()).tolist()
        rows = zip(places, columns["rank"], columns["reason"], columns["contribution"], strict=True)
        for place, rank, words, contribution in rows:
            if place >= 0:
                found[rank - 1][place] = ids.id_of(words, raises=contribution > 0)
    return found


def places_of(sorted_ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each id is among sorted ones, -1 where it is not."""
    if not len(sorted_ids):
        return np.full(len(wanted), -1)
    places = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    return np.where(sorted_ids[places] == wanted, places, -1)


def fill(  # noqa: PLR0913, PLR0917 - what is where
    found: NDArray[np.uint16],
    rows: pa.Table,
    user_ids: NDArray[np.int64],
    days: Mapping[Any, int],
    day: str,
    value: str,
) -> None:
    """Put numbers into a matrix with a row a user and a column a day.

    Args:
        found: the matrix, with what stands where there is no row.
        rows: user_id, a day and a whole number each, at most 65,535.
        user_ids: of the matrix's rows, sorted; rows of others are left out.
        days: the matrix's column of each day.
        day: the name of the column with the day.
        value: the name of the column with the number.
    """
    places = places_of(user_ids, rows["user_id"].to_numpy())
    columns = np.array([days[one] for one in rows[day].to_pylist()], dtype=np.int64)
    is_known = places >= 0
    found[places[is_known], columns[is_known]] = rows[value].to_numpy()[is_known]


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[Sequence[Any]]) -> None:
    [(width,)] = connection.execute("SELECT count(*) FROM pragma_table_info(?)", (table,)).fetchall()
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", rows)  # noqa: S608 - our own names


def _text(day: Any) -> str | None:
    return None if day is None else str(day)
