"""Parses a request's body, in any of MLflow's input formats, into rows of features.

Nearly every request holds whole rows of plain numbers, which msgspec decodes in one pass. All others are read
again as MLflow's server does (see ``request_table.py``), which also finds the reason for a refusal.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from churn_assets.serving.features.online_store import Snapshot
from churn_assets.serving.scoring import cells, lookup, request_table
from churn_assets.serving.scoring.lookup import SnapshotSource
from churn_assets.serving.scoring.replies import BadRequestError
from churn_assets.serving.scoring.request_table import FORMATS, RequestTable
from churn_assets.serving.scoring.required_features import Flags, RequiredFeatures

USER_ID = "user_id"

# The parameter of the model that ``model/logged/packaging.py`` logs.
EXPLAIN = "explain"


@dataclass(frozen=True)
class Rows:
    """The rows of one request.

    ``matrix`` has one row for each of the request and one column for each feature, in the model's order.
    ``unknown`` holds the user_ids without published features, by row number; their rows must not be scored.
    ``looked_up`` is the snapshot that completed other rows, if any. With ``explain`` the answer is the
    contributions of the features, not the scores. ``without_history`` is the number of rows that the model's
    fallback scores.
    """

    matrix: NDArray[np.float64]
    unknown: dict[int, int]
    looked_up: Snapshot | None = None
    explain: bool = False
    without_history: int = 0


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | UnsetType = UNSET


class Parser:
    """The parser of request bodies for one model version."""

    def __init__(
        self,
        columns: Sequence[str],
        *,
        accepts_nan: bool = False,
        explains: bool = False,
        optional: Collection[str] = (),
        history: Collection[str] = (),
    ) -> None:
        """Prepare the decoder.

        Args:
            columns: the model's features, in its order.
            accepts_nan: whether the model scores rows without some of the features, whichever these are.
            explains: whether the model can return contributions.
            optional: the features that may be missing, as in ``RequiredFeatures``.
            history: the optional features that every row with a history has.
        """
        self.columns = list(columns)
        self.required = RequiredFeatures(self.columns, optional, history)
        self._accepts_nan = accepts_nan
        self._explains = explains
        limits = np.array([cells.limits(name) for name in self.columns])
        self._low, self._high = limits[:, 0], limits[:, 1]
        self._record = record = msgspec.defstruct(
            "Record",
            [
                *((name, float) for name in self.required.always),
                # Numpy converts None to NaN.
                *((name, float | None, math.nan) for name in self.required.optional),
                (USER_ID, int | UnsetType, UNSET),
            ],
            forbid_unknown_fields=True,
        )
        by_column = dict[str, Any]
        body: Any = msgspec.defstruct(
            "Body",
            [
                ("dataframe_records", list[record] | UnsetType, UNSET),
                ("dataframe_split", _Split | UnsetType, UNSET),
                ("inputs", list[record] | by_column | UnsetType, UNSET),
                ("instances", list[record] | UnsetType, UNSET),
                # Databricks' clients may send these; they change no answer.
                ("client_request_id", str | UnsetType, UNSET),
                ("usage_context", dict[str, str] | UnsetType, UNSET),
            ],
            forbid_unknown_fields=True,
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode
        self._features = attrgetter(*self.columns)

    def rows(self, body: bytes, source: SnapshotSource) -> Rows:
        """Parse the rows, and complete those with a user_id from the published features.

        Args:
            body: JSON with one of ``FORMATS``.
            source: returns the published features; called only for a look-up.

        Raises:
            BadRequestError: a value is missing, is no number or is out of its range; names row and field.
            UnavailableError: a look-up is needed, and no features are published.
        """
        return self._parse_plain(body) or self._parse_table(request_table.read(body), source)

    def _parse_plain(self, body: bytes) -> Rows | None:
        """Return the rows if all are plain numbers within their ranges that need no look-up, else None."""
        try:
            records = self._decode_records(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None
        if not records:
            return None
        values = [self._features(record) for record in records]
        matrix = np.array(values, dtype=np.float64).reshape(len(records), -1)
        is_in_range = (matrix >= self._low) & (matrix <= self._high)
        if _all(is_in_range):
            return Rows(matrix, {})
        missing = np.isnan(matrix)
        if not _all(is_in_range | missing) or any(record.user_id is not UNSET for record in records):
            return None
        count = self.required.count_without_history(missing)
        return None if count is None else Rows(matrix, {}, without_history=count)

    def _decode_records(self, body: bytes) -> list[Any]:
        """Return the records, empty if the other parser has to read the body."""
        parsed = self._decode(body)
        values = [value for name in FORMATS if (value := getattr(parsed, name)) is not UNSET]
        value = values[0] if len(values) == 1 else []
        if isinstance(value, _Split):
            index = value.index
            if index is not UNSET and len(index) != len(value.data):
                return []
            if len(set(value.columns)) != len(value.columns):
                return []
            rows = [dict(zip(value.columns, row, strict=True)) for row in value.data]
        elif isinstance(value, dict):
            names, lists = list(value), list(value.values())
            if not all(isinstance(values, list) for values in lists):
                return []
            rows = [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
        else:
            return value
        return msgspec.convert(rows, list[self._record])  # type: ignore[name-defined]  # made at run time

    def _parse_table(self, table: RequestTable, source: SnapshotSource) -> Rows:
        fields = {USER_ID, *self.columns}
        if duplicates := sorted(table.duplicates & fields):
            raise BadRequestError(f"dataframe_split.columns names a column twice: {duplicates[0]}.")
        if table.is_uniform:
            _require_same_fields(table, table.columns - fields)
        explain = self._explain(table.params)
        matrix = self._matrix(table)
        self._require_range(table, matrix)
        missing = np.isnan(matrix)
        is_scorable = self.required.are_scorable(missing)
        users = self._users_to_look_up(table, missing, is_scorable)
        # A scorable row is scored without a history if its user has none.
        required = {row for row in users if not is_scorable[row]}
        if required:
            self._require_known_fields(table)
        find_snapshot = lookup.require_snapshot if required else lookup.usable_snapshot
        snapshot = find_snapshot(source, self.columns) if users else None
        not_found = lookup.complete(matrix, self.columns, users, snapshot) if snapshot else users
        unknown = {row: user_id for row, user_id in not_found.items() if row in required}
        was_used = bool(unknown) or len(not_found) < len(users)
        lacks_history = self.required.lack_history(np.isnan(matrix))
        lacks_history[list(unknown)] = False
        return Rows(matrix, unknown, snapshot if was_used else None, explain, int(lacks_history.sum()))

    def _require_known_fields(self, table: RequestTable) -> None:
        """Refuse other fields: a misspelt feature would silently be looked up instead."""
        if unknown := sorted(table.columns - {USER_ID, *self.columns}):
            raise BadRequestError(
                f"Features are to be looked up beside an unknown field {cells.display(unknown[0])}; leave it "
                f"out, or send all features. Known fields: {USER_ID}, {', '.join(self.columns)}."
            )

    def _explain(self, params: Any) -> bool:
        """Return whether contributions are asked for; as in MLflow, unknown parameters are ignored."""
        if not self._explains or params is None:
            return False
        if not isinstance(params, dict):
            raise BadRequestError(f"params is {cells.display(params)}; expected an object.")
        explain = params.get(EXPLAIN)
        if explain is not None and not isinstance(explain, bool):
            raise BadRequestError(f"params.{EXPLAIN} is {cells.display(explain)}; expected true or false.")
        return bool(explain)

    def _matrix(self, table: RequestTable) -> NDArray[np.float64]:
        """Return the features that were sent, NaN for the others."""
        matrix = np.full((len(table.rows), len(self.columns)), math.nan)
        for column, name in enumerate(self.columns):
            if name in table.columns:
                values = [record.get(name) for record in table.rows]
                numbers = cells.parse_numbers(values)
                matrix[:, column] = self._parse_column(table, name, values) if numbers is None else numbers
        return matrix

    def _parse_column(self, table: RequestTable, name: str, values: list[Any]) -> list[float]:
        """Parse the values of a column one by one, and name the row that holds no number."""
        numbers = []
        for row, value in enumerate(values):
            try:
                numbers.append(cells.parse_number(value))
            except (ValueError, OverflowError) as error:
                is_too_large = isinstance(error, OverflowError)
                reason = cells.range_error(name, math.inf) if is_too_large else "expected a number"
                raise _value_error(table, row, name, reason) from error
        return numbers

    def _require_range(self, table: RequestTable, matrix: NDArray[np.float64]) -> None:
        outside = (matrix < self._low) | (matrix > self._high)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            name = self.columns[column]
            raise _value_error(table, row, name, cells.range_error(name, matrix[row, column]))

    def _users_to_look_up(self, table: RequestTable, missing: Flags, is_scorable: Flags) -> dict[int, int]:
        """Return the user_ids, by row number, of all rows that lack a feature and name their user."""
        users: dict[int, int] = {}
        has_ids = USER_ID in table.columns
        for row in np.flatnonzero(missing.any(axis=1) & (~is_scorable | has_ids)).tolist():
            value = table.rows[row].get(USER_ID) if has_ids else None
            user_id = cells.parse_user_id(value)
            if user_id is not None:
                users[row] = user_id
            elif is_scorable[row]:
                continue
            elif value is None:
                self._require_scorable(table, missing, row)
            else:
                raise _value_error(table, row, USER_ID, "expected a whole number of 64 bits, as 42 or '42'")
        return users

    def _require_scorable(self, table: RequestTable, missing: Flags, row: int) -> None:
        """Refuse a row that lacks features, unless the model accepts NaN and the row has some feature."""
        lacking = [name for name, is_missing in zip(self.columns, missing[row], strict=True) if is_missing]
        required = [name for name in lacking if name in self.required.always]
        if not required:
            raise self._partial_history_error(table, row, lacking)
        not_in_table = [name for name in required if name not in table.columns]
        not_in_row = [name for name in required if name not in table.rows[row]]
        if not_in_table or (not_in_row and table.is_uniform):
            raise self._missing_error(table, row, (not_in_table or not_in_row)[0])
        if self._accepts_nan and len(lacking) < len(self.columns):
            return
        if required[0] in not_in_row:
            raise self._missing_error(table, row, required[0])
        raise _value_error(table, row, required[0], f"expected a number, or a {USER_ID} to look it up by")

    def _partial_history_error(self, table: RequestTable, row: int, lacking: list[str]) -> BadRequestError:
        name = next(name for name in self.required.history if name in lacking)
        sent = next(name for name in self.required.optional if name not in lacking)
        lacks = "has null for" if name in table.rows[row] else "lacks"
        return BadRequestError(
            f"Row {row} {lacks} {name}, and has {sent}: half a history. Send all of "
            f"{', '.join(self.required.history)}, or nothing of the history, or a {USER_ID} to look it up "
            f"by - {table.place(row, sent)}."
        )

    def _missing_error(self, table: RequestTable, row: int, name: str) -> BadRequestError:
        place = f" - {table.place(row, name)}" if name in table.columns else ""
        return BadRequestError(f"Row {row} lacks {name}. Send it, or a {USER_ID} to look it up by{place}.")


def _all(flags: Flags) -> bool:
    # For one or two rows this takes a tenth of the time of numpy's all().
    return b"\0" not in flags.tobytes()


def _require_same_fields(table: RequestTable, names: set[str]) -> None:
    for row, record in enumerate(table.rows):
        if lacking := sorted(names - record.keys()):
            raise BadRequestError(
                f"Row {row} lacks {cells.display(lacking[0])}, which another row has; all instances must "
                "have the same fields."
            )


def _value_error(table: RequestTable, row: int, name: str, reason: str) -> BadRequestError:
    value = cells.display(table.rows[row].get(name))
    return BadRequestError(f"Row {row} has {name} = {value}; {reason} - {table.place(row, name)}.")
