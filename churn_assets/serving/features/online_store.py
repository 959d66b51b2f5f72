"""The features of one feature_date by user_id, in files that several processes map and one replaces.

A published version (see ``versions``) has ``user_id.npy`` (sorted), ``features.npy`` (one row for each user)
and ``meta.json``. Every worker of the server imports this module, so it needs only numpy and the standard
library.
"""

import datetime as dt
import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn_assets.errors import ContractError, EndpointError
from churn_assets.serving import versions
from churn_assets.serving.versions import current_version

IDS, FEATURES, META = "user_id.npy", "features.npy", "meta.json"


@dataclass(frozen=True)
class Published:
    """A publication: the name of the version's folder, users, bytes, and the source."""

    version: str
    users: int
    bytes: int
    feature_date: dt.date
    source_version: int


@dataclass(frozen=True)
class Snapshot:
    """One published version, mapped into memory; it stays readable when another replaces it.

    ``user_ids`` are sorted; ``features`` has one row for each of them and one column for each of ``columns``.
    """

    user_ids: NDArray[np.int64]
    features: NDArray[np.float64]
    columns: tuple[str, ...]
    feature_date: dt.date
    source_version: int

    def lookup(self, user_ids: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the features of these users.

        Args:
            user_ids: integers in any order, repeated or not.

        Returns:
            One row for each user_id in the order of ``columns``, NaN for nulls, 0 for an unknown user; and
            whether each user is known.
        """
        ids = np.asarray(user_ids, dtype=np.int64)
        if not len(self.user_ids):
            return np.zeros((len(ids), len(self.columns))), np.zeros(len(ids), dtype=np.bool_)
        positions = np.minimum(np.searchsorted(self.user_ids, ids), len(self.user_ids) - 1)
        is_known = self.user_ids[positions] == ids
        rows = self.features[positions]
        rows[~is_known] = 0.0
        return rows, is_known


class OnlineStore:
    """A reader of the current version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = versions.Current(folder, self._read)

    def snapshot(self) -> Snapshot | None:
        """Return the current version, None before the first. This costs one ``stat`` if nothing changed.

        Raises:
            EndpointError: the files of the current version are missing or damaged.
        """
        return self._current.get()

    def _read(self) -> Snapshot:
        folder = self._folder / current_version(self._folder)
        try:
            return _open(folder)
        except FileNotFoundError as error:
            current = self._folder / current_version(self._folder)
            if current == folder:
                raise EndpointError(_damaged(folder)) from error
            # Replaced twice since the pointer was read, and its version has been removed.
            return _open(current)


def publish(  # noqa: PLR0913, PLR0917 - the features, and their source
    folder: Path,
    user_ids: ArrayLike,
    matrix: ArrayLike,
    columns: Sequence[str],
    feature_date: dt.date,
    source_version: int,
    nullable: Collection[str] = (),
) -> Published:
    """Publish features as the current version. The version before stays on disk, older ones are removed.

    Args:
        folder: the store's folder, created if it is missing.
        user_ids: distinct integers, in any order.
        matrix: one row for each user, finite numbers in the order of ``columns``, or NaN for nulls.
        columns: the names of the matrix's columns.
        feature_date: the UTC day at whose end the features were known.
        source_version: the Delta version of the table that they were read from.
        nullable: the columns that may be null.

    Raises:
        ContractError: a user_id is repeated, a number is missing or infinite, or the shapes do not match.
    """
    ids, features = _sorted(user_ids, matrix, columns)
    _require_numbers(ids, features, columns, nullable)
    version = f"{feature_date}-v{source_version}-{uuid.uuid4().hex[:12]}"
    meta = {
        "columns": list(columns),
        "feature_date": feature_date.isoformat(),
        "source_version": source_version,
        "users": len(ids),
    }

    def write(target: Path) -> None:
        np.save(target / IDS, ids)
        np.save(target / FEATURES, features)
        (target / META).write_text(json.dumps(meta))

    versions.add(folder, version, write)
    size = sum(file.stat().st_size for file in (folder / version).iterdir())
    return Published(version, len(ids), size, feature_date, source_version)


def _sorted(
    user_ids: ArrayLike, matrix: ArrayLike, columns: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    ids = np.asarray(user_ids, dtype=np.int64).ravel()
    features = np.asarray(matrix, dtype=np.float64)
    if features.shape != (len(ids), len(columns)):
        raise ContractError(
            f"Online features of {len(ids)} users, {len(columns)} columns, have the shape {features.shape}. "
            "Give one row for each user and one column for each feature."
        )
    order = np.argsort(ids)
    ids, features = ids[order], np.ascontiguousarray(features[order])
    if len(duplicates := ids[1:][ids[1:] == ids[:-1]]):
        raise ContractError(
            f"Online features hold user_id {duplicates[0]} twice; expected one row for each user. "
            "Publish one feature_date at a time."
        )
    return ids, features


def _require_numbers(
    ids: NDArray[np.int64], features: NDArray[np.float64], columns: Sequence[str], nullable: Collection[str]
) -> None:
    is_nullable = np.array([name in nullable for name in columns], dtype=np.bool_)
    is_wrong = np.isinf(features) | (np.isnan(features) & ~is_nullable)
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        or_null = " or none" if is_nullable[column] else ""
        raise ContractError(
            f"Online features of user_id {ids[row]} have {columns[column]} = {features[row, column]}; "
            f"expected a finite number{or_null}. Mend it in user_features."
        )


def _open(folder: Path) -> Snapshot:
    try:
        meta = json.loads((folder / META).read_bytes())
        # As plain arrays over the mapped files, because np.memmap is slower in each operation.
        ids = np.asarray(np.load(folder / IDS, mmap_mode="r"))
        features = np.asarray(np.load(folder / FEATURES, mmap_mode="r"))
    except (ValueError, EOFError) as error:
        raise EndpointError(_damaged(folder)) from error
    if ids.shape != (meta["users"],) or features.shape != (meta["users"], len(meta["columns"])):
        raise EndpointError(_damaged(folder))
    return Snapshot(
        user_ids=ids,
        features=features,
        columns=tuple(meta["columns"]),
        feature_date=dt.date.fromisoformat(meta["feature_date"]),
        source_version=meta["source_version"],
    )


def _damaged(folder: Path) -> str:
    return (
        f"The online features at {folder} are damaged. Publish them again: materialise online_user_features."
    )
