"""What the page shows, in one SQLite file a version: the list, a row a user, and the overview.

The server's workers read it, and neither Delta nor an engine: this module needs SQLite, numpy and msgspec.
Filters do not ask SQLite, which would look at each row of the list. Band, country, value and gain of all
contacts are arrays in the order of rank, through which a filter goes in milliseconds also at a million; only
the rows of the shown page are then read.
"""

import datetime as dt
import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from churn_assets.errors import EndpointError
from churn_assets.retention.overview import Overview
from churn_assets.serving.versions import Current, current_version

FILE = "page.sqlite"

# Probabilities are kept as whole numbers up to this; the next one says that there was no prediction.
PROBABILITY_UNITS = 10_000
NO_PREDICTION = 65_535
MOST_EVENTS = 65_535

# isdigit() accepts digits of other scripts, some of which int() does not.
NUMBER = re.compile(r"-?[0-9]{1,19}")

HIGHEST_FIRST = ("high", "medium", "low")

SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE reasons (reason_id INTEGER PRIMARY KEY, words TEXT NOT NULL, raises INTEGER NOT NULL);
CREATE TABLE listed (
    rank INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, source_user_id TEXT, assigned_group TEXT NOT NULL,
    churn_probability REAL NOT NULL, probability_change REAL, risk_band TEXT NOT NULL, value REAL NOT NULL,
    expected_gain REAL NOT NULL, save_rate REAL NOT NULL,
    reason_1 INTEGER, reason_2 INTEGER, reason_3 INTEGER,
    model_version INTEGER NOT NULL, country TEXT, is_new INTEGER NOT NULL, uplift REAL
);
CREATE TABLE users (
    user_id INTEGER PRIMARY KEY, source_user_id TEXT, country TEXT, first_seen_date TEXT, last_seen_date TEXT,
    probabilities BLOB NOT NULL, events BLOB NOT NULL, reason_1 INTEGER, reason_2 INTEGER, reason_3 INTEGER
);
"""
INDICES = """
CREATE INDEX listed_by_user ON listed (user_id);
CREATE INDEX users_by_source ON users (source_user_id);
"""

_LISTED = """
SELECT listed.*, first.words AS words_1, second.words AS words_2, third.words AS words_3 FROM listed
LEFT JOIN reasons first ON first.reason_id = listed.reason_1
LEFT JOIN reasons second ON second.reason_id = listed.reason_2
LEFT JOIN reasons third ON third.reason_id = listed.reason_3
"""


class About(msgspec.Struct, frozen=True):
    """What was published, and from what.

    ``probability_dates`` and ``first_activity_date`` say which days the numbers of a user's row are of.
    ``source`` tells one publication from another by the versions of the tables behind it.
    """

    overview: Overview
    source: str
    published_at: dt.datetime
    contacts: int
    control: int
    contact_cost: float
    probability_dates: tuple[dt.date, ...]
    first_activity_date: dt.date
    countries: tuple[str | None, ...]


class Filter(NamedTuple):
    """Which contacts to show; None for all. An empty country is an unknown one."""

    country: str | None = None
    band: str | None = None
    least_value: float | None = None
    is_new: bool = False


class Found(NamedTuple):
    """The contacts that pass a filter, by rank; what they add up to."""

    ranks: NDArray[np.int64]
    expected_gain: float
    expected_churners: float


class Reason(NamedTuple):
    """A reason in words, and whether it raises the risk."""

    words: str
    raises: bool


class User(NamedTuple):
    """One user: who it is, the row of the list if it is in it, and its history by day."""

    row: dict[str, Any]
    listed: dict[str, Any] | None
    reasons: tuple[Reason, ...]
    probabilities: tuple[tuple[dt.date, float], ...]
    events: tuple[tuple[dt.date, int], ...]


def connected(file: Path) -> sqlite3.Connection:
    """Open a published file, into which nobody writes.

    What is immutable needs no locks, and leaves no files of a log beside it.

    Raises:
        sqlite3.Error: it is missing.
    """
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


class Snapshot:
    """One published version; usable in the thread that opened it, and readable when another replaces it."""

    def __init__(self, file: Path) -> None:
        self._connection = connected(file)
        self._connection.row_factory = sqlite3.Row
        self.about = msgspec.json.decode(self._value("about"), type=About)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def damage(self) -> str | None:
        """Return what SQLite finds wrong with the file, after reading all of it; None if nothing."""
        try:
            [(says,)] = self._connection.execute("PRAGMA integrity_check(1)").fetchall()
        except sqlite3.DatabaseError as error:
            says = str(error)
        return None if says == "ok" else f"SQLite finds it damaged: {says}"

    def find(self, wanted: Filter) -> Found:
        """Return the contacts that pass a filter, in the order of the list."""
        columns = self._columns
        passes = np.ones(len(columns["rank"]), dtype=np.bool_)
        if wanted.country is not None:
            countries = self.about.countries
            country = wanted.country or None
            passes &= columns["country"] == (countries.index(country) if country in countries else -1)
        if wanted.band is not None:
            passes &= columns["band"] == HIGHEST_FIRST.index(wanted.band)
        if wanted.least_value is not None:
            passes &= columns["value"] >= wanted.least_value
        if wanted.is_new:
            passes &= columns["is_new"].astype(np.bool_)
        return Found(
            columns["rank"][passes],
            float(columns["gain"][passes].sum()),
            float(columns["probability"][passes].sum()),
        )

    def country_counts(self) -> list[tuple[str | None, int]]:
        """Return the countries with their contacts, most first."""
        counts = np.bincount(self._columns["country"], minlength=len(self.about.countries))
        found = [
            (name, int(count)) for name, count in zip(self.about.countries, counts, strict=True) if count
        ]
        return sorted(found, key=lambda one: (-one[1], one[0] or ""))

    def rows(self, ranks: Sequence[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return rows of the list by rank, with the columns of the contract, ``country`` and ``is_new``."""
        if not len(ranks):
            return []
        wanted = [int(rank) for rank in ranks]
        # By their ends where nothing is left out, which is the plain list.
        if wanted[-1] - wanted[0] == len(wanted) - 1:
            rows = self._connection.execute(
                f"{_LISTED} WHERE rank BETWEEN ? AND ? ORDER BY rank", (wanted[0], wanted[-1])
            )
        else:
            marks = ", ".join("?" * len(wanted))
            rows = self._connection.execute(f"{_LISTED} WHERE rank IN ({marks}) ORDER BY rank", wanted)
        return [self._listed(row) for row in rows]

    def user(self, given: str) -> User | None:
        """Return a user by user_id or source_user_id; None for who has no prediction of the date."""
        row = None
        if NUMBER.fullmatch(given) and -(2**63) <= int(given) < 2**63:
            row = self._one("SELECT * FROM users WHERE user_id = ?", int(given))
        row = row or self._one("SELECT * FROM users WHERE source_user_id = ?", given)
        if row is None:
            return None
        listed = self._one(f"{_LISTED} WHERE user_id = ?", row["user_id"])
        return User(
            dict(row),
            self._listed(listed) if listed else None,
            tuple(self._reasons(row)),
            tuple(self._probabilities(row["probabilities"])),
            tuple(self._events(row["events"])),
        )

    def _probabilities(self, packed: bytes) -> Iterator[tuple[dt.date, float]]:
        units = np.frombuffer(packed, dtype="<u2").tolist()
        for day, unit in zip(self.about.probability_dates, units, strict=True):
            if unit != NO_PREDICTION:
                yield day, unit / PROBABILITY_UNITS

    def _events(self, packed: bytes) -> Iterator[tuple[dt.date, int]]:
        first = self.about.first_activity_date.toordinal()
        for place, count in enumerate(np.frombuffer(packed, dtype="<u2").tolist()):
            yield dt.date.fromordinal(first + place), count

    def _reasons(self, row: sqlite3.Row) -> Iterator[Reason]:
        for place in (1, 2, 3):
            found = self._one("SELECT words, raises FROM reasons WHERE reason_id = ?", row[f"reason_{place}"])
            if found:
                yield Reason(found["words"], bool(found["raises"]))

    def _listed(self, row: sqlite3.Row) -> dict[str, Any]:
        words = {f"reason_{place}": row[f"words_{place}"] for place in (1, 2, 3)}
        # What an earlier release published has no uplift.
        return {"uplift": None, **dict(row), **words, "feature_date": self.about.overview.feature_date}

    def _one(self, sql: str, value: Any) -> sqlite3.Row | None:
        return self._connection.execute(sql, (value,)).fetchone()

    def _value(self, name: str) -> bytes:
        row = self._one("SELECT value FROM about WHERE name = ?", name)
        if row is None:
            raise sqlite3.DatabaseError(f"{name} is missing")
        return row["value"]

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {name: np.frombuffer(self._value(name), dtype=kind) for name, kind in COLUMNS.items()}


# The arrays of the contacts in the order of rank; values of ``about``.
COLUMNS = {
    "rank": "<i8",
    "country": "<i4",
    "band": "i1",
    "is_new": "i1",
    "value": "<f8",
    "gain": "<f8",
    "probability": "<f8",
}


class PageStore:
    """A reader of the current version, for one thread."""

    def __init__(self, folder: Path) -> None:
        self._current = Current(folder, partial(opened, folder), Snapshot.close)

    def snapshot(self) -> Snapshot | None:
        """Return the current version, None before the first.

        Raises:
            EndpointError: its file is missing or damaged.
        """
        return self._current.get()


def opened(folder: Path) -> Snapshot | None:
    """Open the current version of a folder, None before the first.

    Raises:
        EndpointError: its file is missing or damaged.
    """
    try:
        version = current_version(folder)
    except FileNotFoundError:
        return None
    try:
        return Snapshot(folder / version / FILE)
    except (sqlite3.Error, msgspec.DecodeError, OSError) as error:
        raise EndpointError(
            f"What the page shows, in {folder}, is damaged ({error}). Publish it again: churn repair page, "
            "and then churn run"
        ) from error


def write_columns(connection: sqlite3.Connection, countries: Sequence[str | None]) -> None:
    """Write the arrays of the contacts from the rows of ``listed``, in place of those that are there."""
    rows = connection.execute(
        "SELECT rank, country, risk_band, is_new, value, expected_gain, churn_probability FROM listed "
        "WHERE assigned_group = 'contact' ORDER BY rank"
    ).fetchall()
    places = {country: place for place, country in enumerate(countries)}
    bands = {band: place for place, band in enumerate(HIGHEST_FIRST)}
    columns = [
        [row[0] for row in rows],
        [places[row[1]] for row in rows],
        [bands[row[2]] for row in rows],
        *([row[place] for row in rows] for place in (3, 4, 5, 6)),
    ]
    for (name, kind), column in zip(COLUMNS.items(), columns, strict=True):
        packed = np.asarray(column, dtype=kind).tobytes()
        connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, packed))
