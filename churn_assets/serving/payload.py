"""From a request's body to rows of features, in any of MLflow's input formats.

msgspec checks types while it parses, and names the place of what is wrong.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from churn_assets.serving.online_store import Snapshot
from churn_assets.serving.replies import BadRequestError, UnavailableError

FORMATS = ("dataframe_records", "dataframe_split", "inputs", "instances")

UserId = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

# scikit-learn's trees compare float32; what does not fit would become infinite there.
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Rows:
    """The rows of one request, in the model's column order.

    ``matrix`` has one row for each of the request, float64; ``unknown`` are the user_ids, by row, of which
    nothing is known: their rows are no features and must not be scored. ``looked_up`` is the version of the
    online features that completed them, if one did.
    """

    matrix: np.ndarray
    unknown: dict[int, int]
    looked_up: Snapshot | None = None


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | UnsetType = UNSET


class Parser:
    """Reads bodies for a model with these columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        record = msgspec.defstruct(
            "Record",
            [
                ("user_id", UserId | UnsetType, UNSET),
                *((name, float | UnsetType, UNSET) for name in self.columns),
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
        self._record = record
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(body).decode
        self._features = attrgetter(*self.columns)

    def rows(self, body: bytes, features_of: Callable[[], Snapshot | None]) -> Rows:
        """Read the rows, completed from the online store where a user_id stands for features.

        Args:
            body: JSON with one of ``FORMATS``.
            features_of: gives the online store as it is now; asked only where it is needed.

        Raises:
            BadRequestError: names what is missing, unknown, no number, null, or too large.
            UnavailableError: features are to be looked up, and none have been published.
        """
        records = self._records(body)
        try:
            values = [self._features(record) for record in records]
            matrix = np.array(values, dtype=np.float64).reshape(len(records), -1)
        except TypeError:  # a feature is not set
            return self._completed(records, features_of)
        self._require_finite(matrix)
        return Rows(matrix, {})

    def _records(self, body: bytes) -> list[Any]:
        try:
            parsed = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequestError(self._explained(str(error))) from error
        given = [name for name in FORMATS if getattr(parsed, name) is not UNSET]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has none of them"
            raise BadRequestError(f"The body {found}; send exactly one of {', '.join(FORMATS)}.")
        value = getattr(parsed, given[0])
        if isinstance(value, _Split):
            records = self._from_split(value)
        elif isinstance(value, dict):
            records = self._from_columns(value)
        else:
            records = value
        if not records:
            raise BadRequestError(f"{given[0]} has no row; send at least one.")
        return records

    def _explained(self, message: str) -> str:
        known = f"Known fields: user_id, {', '.join(self.columns)}."
        return f"{message.rstrip('.')}. {known}" if "malformed" not in message else f"{message}."

    def _from_split(self, split: _Split) -> list[Any]:
        width = len(split.columns)
        ragged = next((i for i, row in enumerate(split.data) if len(row) != width), None)
        if ragged is not None:
            raise BadRequestError(
                f"dataframe_split.data[{ragged}] has {len(split.data[ragged])} values; columns has {width}."
            )
        if len(set(split.columns)) != width:
            raise BadRequestError("dataframe_split.columns names a column twice.")
        return self._as_records([dict(zip(split.columns, row, strict=True)) for row in split.data])

    def _from_columns(self, columns: dict[str, Any]) -> list[Any]:
        lists = {name: values if isinstance(values, list) else [values] for name, values in columns.items()}
        lengths = {len(values) for values in lists.values()}
        if len(lengths) > 1:
            raise BadRequestError(
                f"inputs has columns of {sorted(lengths)} values; expected the same number."
            )
        count = lengths.pop() if lengths else 0
        return self._as_records([{name: values[i] for name, values in lists.items()} for i in range(count)])

    def _as_records(self, rows: list[dict[str, Any]]) -> list[Any]:
        try:
            return msgspec.convert(rows, list[self._record])  # type: ignore[name-defined]  # made at run time
        except msgspec.ValidationError as error:
            place = re.sub(r"`\$\[(\d+)\]", r"`$.rows[\1]", str(error))
            raise BadRequestError(self._explained(place)) from error

    def _completed(self, records: list[Any], features_of: Callable[[], Snapshot | None]) -> Rows:
        matrix = np.full((len(records), len(self.columns)), np.nan)
        wanted: dict[int, int] = {}
        for row, record in enumerate(records):
            for column, name in enumerate(self.columns):
                value = getattr(record, name)
                if value is not UNSET:
                    matrix[row, column] = value
                elif record.user_id is UNSET:
                    raise BadRequestError(f"Row {row} lacks {name}. Send it, or a user_id to look it up by.")
                else:
                    wanted[row] = record.user_id
        store = features_of()
        unknown = self._look_up(matrix, wanted, store)
        # Not left out, or the row that a refusal names would be another.
        matrix[list(unknown)] = 0.0
        self._require_finite(matrix)
        return Rows(matrix, unknown, looked_up=store)

    def _look_up(self, matrix: np.ndarray, wanted: dict[int, int], store: Snapshot | None) -> dict[int, int]:
        if store is None:
            raise UnavailableError(
                "No features have been published to look users up in. Materialise online_user_features, "
                "or send all features."
            )
        if list(store.columns) != self.columns:
            raise UnavailableError(
                f"The published features are {', '.join(store.columns)}; this model wants "
                f"{', '.join(self.columns)}. Materialise online_user_features."
            )
        rows = np.fromiter(wanted, dtype=np.int64)
        found, there = store.lookup(np.fromiter(wanted.values(), dtype=np.int64))
        given = matrix[rows]
        # What was sent wins over what is known.
        matrix[rows] = np.where(np.isnan(given), found, given)
        return {int(row): wanted[int(row)] for row in rows[~there]}

    def _require_finite(self, matrix: np.ndarray) -> None:
        if not (np.abs(matrix) <= LARGEST).all():
            row, column = (int(i) for i in np.argwhere(~(np.abs(matrix) <= LARGEST))[0])
            raise BadRequestError(
                f"Row {row} has {self.columns[column]} = {matrix[row, column]:g}; "
                f"the largest number that the model takes is {LARGEST:.2g}."
            )
