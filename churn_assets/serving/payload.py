"""From a request's body to rows of features, in any of MLflow's input formats.

Whole rows of plain numbers, which nearly every request is, go through msgspec in one pass. Whatever that does
not take is read again as MLflow's server would (see ``request_table.py``), which also says what is wrong.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from churn_assets.serving import cells, request_table
from churn_assets.serving.online_store import Snapshot
from churn_assets.serving.replies import BadRequestError, UnavailableError
from churn_assets.serving.request_table import FORMATS, RequestTable

USER_ID = "user_id"

# The parameter of the model that ``model/packaging.py`` logs.
EXPLAIN = "explain"


@dataclass(frozen=True)
class Rows:
    """The rows of one request, in the model's column order.

    ``matrix`` has one row for each of the request, float64; ``unknown`` are the user_ids, by row, of which
    nothing is known: their rows are no features and must not be scored. ``looked_up`` is the version of the
    online features that completed them, if one did. With ``explain`` the contributions of the features are
    wanted, not scores.
    """

    matrix: np.ndarray
    unknown: dict[int, int]
    looked_up: Snapshot | None = None
    explain: bool = False


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | UnsetType = UNSET


class Parser:
    """Reads bodies for a model with these columns."""

    def __init__(self, columns: Sequence[str], *, takes_nan: bool = False, explains: bool = False) -> None:
        """Prepare.

        Args:
            columns: the model's features, in its order.
            takes_nan: whether it scores a row that lacks some of them.
            explains: whether it can be asked for contributions.
        """
        self.columns = list(columns)
        self._takes_nan = takes_nan
        self._explains = explains
        limits = np.array([cells.limits(name) for name in self.columns])
        self._low, self._high = limits[:, 0], limits[:, 1]
        self._record = record = msgspec.defstruct(
            "Record",
            [*((name, float) for name in self.columns), (USER_ID, int | UnsetType, UNSET)],
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
                # What Databricks' clients may send along; it changes no answer.
                ("client_request_id", str | UnsetType, UNSET),
                ("usage_context", dict[str, str] | UnsetType, UNSET),
            ],
            forbid_unknown_fields=True,
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode
        self._features = attrgetter(*self.columns)

    def rows(self, body: bytes, features_of: Callable[[], Snapshot | None]) -> Rows:
        """Read the rows, completed from the online store where a user_id stands for features.

        Args:
            body: JSON with one of ``FORMATS``.
            features_of: gives the online store as it is now; asked only where it is needed.

        Raises:
            BadRequestError: names the row and field that is missing, no number, or outside its range.
            UnavailableError: features are to be looked up, and none have been published.
        """
        matrix = self._plain(body)
        if matrix is not None:
            return Rows(matrix, {})
        return self._read(request_table.read(body), features_of)

    def _plain(self, body: bytes) -> np.ndarray | None:
        """The features, if the body has whole rows of numbers within their ranges and nothing else."""
        try:
            records = self._records(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None
        if not records:
            return None
        values = [self._features(record) for record in records]
        matrix = np.array(values, dtype=np.float64).reshape(len(records), -1)
        within = (matrix >= self._low) & (matrix <= self._high)
        return matrix if within.all() else None

    def _records(self, body: bytes) -> list[Any]:
        parsed = self._decode(body)
        given = [value for name in FORMATS if (value := getattr(parsed, name)) is not UNSET]
        value = given[0] if len(given) == 1 else []
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

    def _read(self, table: RequestTable, features_of: Callable[[], Snapshot | None]) -> Rows:
        known = {USER_ID, *self.columns}
        if twice := sorted(table.twice & known):
            raise BadRequestError(f"dataframe_split.columns names a column twice: {twice[0]}.")
        if table.is_even:
            _require_even(table, table.columns - known)
        explain = self._explain(table.params)
        matrix = self._sent(table)
        self._require_range(table, matrix)
        wanted = self._wanted(table, matrix)
        if not wanted:
            return Rows(matrix, {}, explain=explain)
        if unknown := sorted(table.columns - known):
            # A misspelt feature would be looked up instead, and nobody would see it.
            raise BadRequestError(
                f"Features are to be looked up beside an unknown field {cells.shown(unknown[0])}; leave it "
                f"out, or send all features. Known fields: {USER_ID}, {', '.join(self.columns)}."
            )
        store = features_of()
        return Rows(matrix, self._look_up(matrix, wanted, store), looked_up=store, explain=explain)

    def _explain(self, params: Any) -> bool:
        """Whether contributions are asked for. As in MLflow, parameters that the model lacks are ignored."""
        if not self._explains or params is None:
            return False
        if not isinstance(params, dict):
            raise BadRequestError(f"params is {cells.shown(params)}; expected an object.")
        explain = params.get(EXPLAIN)
        if explain is not None and not isinstance(explain, bool):
            raise BadRequestError(f"params.{EXPLAIN} is {cells.shown(explain)}; expected true or false.")
        return bool(explain)

    def _sent(self, table: RequestTable) -> np.ndarray:
        """What was sent, NaN where nothing was."""
        matrix = np.full((len(table.rows), len(self.columns)), math.nan)
        for column, name in enumerate(self.columns):
            if name in table.columns:
                values = [record.get(name) for record in table.rows]
                numbers = cells.numbers(values)
                matrix[:, column] = self._each(table, name, values) if numbers is None else numbers
        return matrix

    def _each(self, table: RequestTable, name: str, values: list[Any]) -> list[float]:
        """One by one, as one of them is no number."""
        found = []
        for row, value in enumerate(values):
            try:
                found.append(cells.number(value))
            except (ValueError, OverflowError) as error:
                too_large = isinstance(error, OverflowError)
                why = cells.out_of_range(name, math.inf) if too_large else "expected a number"
                raise _refused(table, row, name, why) from error
        return found

    def _require_range(self, table: RequestTable, matrix: np.ndarray) -> None:
        outside = (matrix < self._low) | (matrix > self._high)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            name = self.columns[column]
            raise _refused(table, row, name, cells.out_of_range(name, matrix[row, column]))

    def _wanted(self, table: RequestTable, matrix: np.ndarray) -> dict[int, int]:
        """The users, by row, whose features are to be looked up: all that lack some and are named."""
        wanted: dict[int, int] = {}
        names = USER_ID in table.columns
        for row in np.flatnonzero(np.isnan(matrix).sum(axis=1)).tolist():
            sent = table.rows[row].get(USER_ID) if names else None
            if sent is None:
                self._require_scorable(table, matrix, row)
                continue
            user_id = cells.user_id(sent)
            if user_id is None:
                raise _refused(table, row, USER_ID, "expected a whole number of 64 bits, as 42 or '42'")
            wanted[row] = user_id
        return wanted

    def _require_scorable(self, table: RequestTable, matrix: np.ndarray, row: int) -> None:
        """A row that lacks features is scored only if the model takes that, and something of it is known."""
        missing = [name for name, value in zip(self.columns, matrix[row], strict=True) if math.isnan(value)]
        everywhere = [name for name in missing if name not in table.columns]
        here = [name for name in missing if name not in table.rows[row]]
        if everywhere or (here and table.is_even):
            raise self._lacks(table, row, (everywhere or here)[0])
        if self._takes_nan and len(missing) < len(self.columns):
            return
        if missing[0] in here:
            raise self._lacks(table, row, missing[0])
        raise _refused(table, row, missing[0], f"expected a number, or a {USER_ID} to look it up by")

    def _lacks(self, table: RequestTable, row: int, name: str) -> BadRequestError:
        place = f" - {table.place(row, name)}" if name in table.columns else ""
        return BadRequestError(f"Row {row} lacks {name}. Send it, or a {USER_ID} to look it up by{place}.")

    def _look_up(self, matrix: np.ndarray, wanted: dict[int, int], store: Snapshot | None) -> dict[int, int]:
        if store is None:
            raise UnavailableError(
                "No features have been published to look users up in. Materialise online_user_features, "
                "or send all features."
            )
        if not set(self.columns).issubset(store.columns):
            raise UnavailableError(
                f"The published features are {', '.join(store.columns)}; this model wants "
                f"{', '.join(self.columns)}. Materialise online_user_features."
            )
        rows = np.fromiter(wanted, dtype=np.int64)
        found, there = store.lookup(np.fromiter(wanted.values(), dtype=np.int64))
        # More may be published than this model was trained with.
        found = found[:, [store.columns.index(name) for name in self.columns]]
        given = matrix[rows]
        # What was sent wins over what is known.
        matrix[rows] = np.where(np.isnan(given), found, given)
        return {int(row): wanted[int(row)] for row in rows[~there]}


def _require_even(table: RequestTable, names: set[str]) -> None:
    for row, record in enumerate(table.rows):
        if lacking := sorted(names - record.keys()):
            raise BadRequestError(
                f"Row {row} lacks {cells.shown(lacking[0])}, which another row has; all instances must have "
                "the same fields."
            )


def _refused(table: RequestTable, row: int, name: str, why: str) -> BadRequestError:
    sent = cells.shown(table.rows[row].get(name))
    return BadRequestError(f"Row {row} has {name} = {sent}; {why} - {table.place(row, name)}.")
