"""From a request's body to rows of features, in any of MLflow's input formats.

Whole rows of plain numbers, which nearly every request is, go through msgspec in one pass. Whatever that does
not take is read again as MLflow's server would (see ``request_table.py``), which also says what is wrong.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from churn_assets.serving.features.online_store import Snapshot
from churn_assets.serving.scoring import cells, lookup, request_table
from churn_assets.serving.scoring.lookup import FeaturesOf
from churn_assets.serving.scoring.needs import Flags, Needs
from churn_assets.serving.scoring.replies import BadRequestError
from churn_assets.serving.scoring.request_table import FORMATS, RequestTable

USER_ID = "user_id"

# The parameter of the model that ``model/logged/packaging.py`` logs.
EXPLAIN = "explain"


@dataclass(frozen=True)
class Rows:
    """The rows of one request, in the model's column order.

    ``matrix`` has one row for each of the request, float64; ``unknown`` are the user_ids, by row, of which
    nothing is known: their rows are no features and must not be scored. ``looked_up`` is the version of the
    online features that completed them, if one did. With ``explain`` the contributions of the features are
    wanted, not scores. ``without_history`` is how many rows the model's fallback will answer.
    """

    matrix: np.ndarray
    unknown: dict[int, int]
    looked_up: Snapshot | None = None
    explain: bool = False
    without_history: int = 0


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | UnsetType = UNSET


class Parser:
    """Reads bodies for a model with these columns."""

    def __init__(
        self,
        columns: Sequence[str],
        *,
        takes_nan: bool = False,
        explains: bool = False,
        optional: Collection[str] = (),
        history: Collection[str] = (),
    ) -> None:
        """Prepare.

        Args:
            columns: the model's features, in its order.
            takes_nan: whether it scores a row that lacks some of them, whichever these are.
            explains: whether it can be asked for contributions.
            optional: the features that a row need not have, as in ``Needs``.
            history: those of them that each row with a history has.
        """
        self.columns = list(columns)
        self.needs = Needs(self.columns, optional, history)
        self._takes_nan = takes_nan
        self._explains = explains
        limits = np.array([cells.limits(name) for name in self.columns])
        self._low, self._high = limits[:, 0], limits[:, 1]
        self._record = record = msgspec.defstruct(
            "Record",
            [
                *((name, float) for name in self.needs.always),
                # Numpy makes NaN of null.
                *((name, float | None, math.nan) for name in self.needs.optional),
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
                # What Databricks' clients may send along; it changes no answer.
                ("client_request_id", str | UnsetType, UNSET),
                ("usage_context", dict[str, str] | UnsetType, UNSET),
            ],
            forbid_unknown_fields=True,
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode
        self._features = attrgetter(*self.columns)

    def rows(self, body: bytes, features_of: FeaturesOf) -> Rows:
        """Read the rows, completed from the online store where a user_id stands for features.

        Args:
            body: JSON with one of ``FORMATS``.
            features_of: gives the online store as it is now; asked only where it is needed.

        Raises:
            BadRequestError: names the row and field that is missing, no number, or outside its range.
            UnavailableError: features are to be looked up, and none have been published.
        """
        return self._plain(body) or self._read(request_table.read(body), features_of)

    def _plain(self, body: bytes) -> Rows | None:
        """The rows, if each can be scored as it is, of numbers within their ranges and nothing else."""
        try:
            records = self._records(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None
        if not records:
            return None
        values = [self._features(record) for record in records]
        matrix = np.array(values, dtype=np.float64).reshape(len(records), -1)
        within = (matrix >= self._low) & (matrix <= self._high)
        if _all(within):
            return Rows(matrix, {})
        missing = np.isnan(matrix)
        if not _all(within | missing) or any(record.user_id is not UNSET for record in records):
            return None
        count = self.needs.count_without_history(missing)
        return None if count is None else Rows(matrix, {}, without_history=count)

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

    def _read(self, table: RequestTable, features_of: FeaturesOf) -> Rows:
        known = {USER_ID, *self.columns}
        if twice := sorted(table.twice & known):
            raise BadRequestError(f"dataframe_split.columns names a column twice: {twice[0]}.")
        if table.is_even:
            _require_even(table, table.columns - known)
        explain = self._explain(table.params)
        matrix = self._sent(table)
        self._require_range(table, matrix)
        missing = np.isnan(matrix)
        met = self.needs.are_met(missing)
        wanted = self._wanted(table, missing, met)
        # A row that can be scored as it is does without a history where none is found.
        must = {row: user_id for row, user_id in wanted.items() if not met[row]}
        if must:
            self._require_known_fields(table)
        find = lookup.published if must else lookup.published_if_any
        store = find(features_of, self.columns) if wanted else None
        strangers = lookup.complete(matrix, self.columns, wanted, store) if store else wanted
        unknown = {row: user_id for row, user_id in strangers.items() if row in must}
        is_of_store = bool(unknown) or len(strangers) < len(wanted)
        lacking = self.needs.lack_history(np.isnan(matrix))
        lacking[list(unknown)] = False
        return Rows(matrix, unknown, store if is_of_store else None, explain, int(lacking.sum()))

    def _require_known_fields(self, table: RequestTable) -> None:
        """A misspelt feature would be looked up instead, and nobody would see it."""
        if unknown := sorted(table.columns - {USER_ID, *self.columns}):
            raise BadRequestError(
                f"Features are to be looked up beside an unknown field {cells.shown(unknown[0])}; leave it "
                f"out, or send all features. Known fields: {USER_ID}, {', '.join(self.columns)}."
            )

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

    def _wanted(self, table: RequestTable, missing: Flags, met: Flags) -> dict[int, int]:
        """The users, by row, whose features are to be looked up: all that lack some and are named."""
        wanted: dict[int, int] = {}
        names = USER_ID in table.columns
        for row in np.flatnonzero(missing.any(axis=1) & (~met | names)).tolist():
            sent = table.rows[row].get(USER_ID) if names else None
            user_id = cells.user_id(sent)
            if user_id is not None:
                wanted[row] = user_id
            elif met[row]:
                continue
            elif sent is None:
                self._require_scorable(table, missing, row)
            else:
                raise _refused(table, row, USER_ID, "expected a whole number of 64 bits, as 42 or '42'")
        return wanted

    def _require_scorable(self, table: RequestTable, missing: Flags, row: int) -> None:
        """A row that lacks features is scored only if the model takes that, and something of it is known."""
        lacking = [name for name, lacks in zip(self.columns, missing[row], strict=True) if lacks]
        needed = [name for name in lacking if name in self.needs.always]
        if not needed:
            raise self._lacks_part_of_history(table, row, lacking)
        everywhere = [name for name in needed if name not in table.columns]
        here = [name for name in needed if name not in table.rows[row]]
        if everywhere or (here and table.is_even):
            raise self._lacks(table, row, (everywhere or here)[0])
        if self._takes_nan and len(lacking) < len(self.columns):
            return
        if needed[0] in here:
            raise self._lacks(table, row, needed[0])
        raise _refused(table, row, needed[0], f"expected a number, or a {USER_ID} to look it up by")

    def _lacks_part_of_history(self, table: RequestTable, row: int, lacking: list[str]) -> BadRequestError:
        name = next(name for name in self.needs.history if name in lacking)
        sent = next(name for name in self.needs.optional if name not in lacking)
        found = "has null for" if name in table.rows[row] else "lacks"
        return BadRequestError(
            f"Row {row} {found} {name}, and has {sent}: half a history. Send all of "
            f"{', '.join(self.needs.history)}, or nothing of the history, or a {USER_ID} to look it up by - "
            f"{table.place(row, sent)}."
        )

    def _lacks(self, table: RequestTable, row: int, name: str) -> BadRequestError:
        place = f" - {table.place(row, name)}" if name in table.columns else ""
        return BadRequestError(f"Row {row} lacks {name}. Send it, or a {USER_ID} to look it up by{place}.")


def _all(flags: Flags) -> bool:
    # For a row or two a tenth of the time that numpy's own takes.
    return b"\0" not in flags.tobytes()


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
