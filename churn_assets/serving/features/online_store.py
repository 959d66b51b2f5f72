"""The features of one feature_date by user_id, in files that several processes map and one replaces.

A published version is a folder: ``user_id.npy`` (sorted), ``features.npy`` (a row a user) and ``meta.json``.
The file ``CURRENT`` names the version that counts and is replaced last, so whatever dies before leaves the
old one. Every worker of the server imports this module: nothing but numpy and the standard library here.
"""

import contextlib
import datetime as dt
import json
import os
import shutil
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn_assets.errors import ContractError, EndpointError

POINTER = "CURRENT"
IDS, FEATURES, META = "user_id.npy", "features.npy", "meta.json"


@dataclass(frozen=True)
class Published:
    """What was published: the version's folder, how many users, how many bytes, and where they came from."""

    version: str
    users: int
    bytes: int
    feature_date: dt.date
    source_version: int


@dataclass(frozen=True)
class Snapshot:
    """One published version, mapped into memory; it stays readable when another replaces it."""

    user_ids: NDArray[np.int64]
    features: NDArray[np.float64]
    columns: tuple[str, ...]
    feature_date: dt.date
    source_version: int

    def lookup(self, user_ids: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The features of these users.

        Args:
            user_ids: integers in any order, repeated or not.

        Returns:
            A row for each, in ``columns``' order, NaN where a known user's feature is null, and whether the
            user is known; an unknown one's row is 0.
        """
        wanted = np.asarray(user_ids, dtype=np.int64)
        if not len(self.user_ids):
            return np.zeros((len(wanted), len(self.columns))), np.zeros(len(wanted), dtype=np.bool_)
        place = np.minimum(np.searchsorted(self.user_ids, wanted), len(self.user_ids) - 1)
        found = self.user_ids[place] == wanted
        rows = self.features[place]
        rows[~found] = 0.0
        return rows, found


class OnlineStore:
    """The reader's side: the version that counts now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, ...] | None = None
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot | None:
        """The current version, or None while there is none; costs one ``stat`` where nothing has changed.

        Raises:
            EndpointError: the files of the current version are missing or damaged.
        """
        try:
            found = os.stat(self._folder / POINTER)  # noqa: PTH116 - on the path of every request
        except FileNotFoundError:
            self._seen = self._snapshot = None
            return None
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._snapshot = self._read()
            self._seen = seen
        return self._snapshot

    def _read(self) -> Snapshot:
        folder = self._folder / current_version(self._folder)
        try:
            return _open(folder)
        except FileNotFoundError as error:
            current = self._folder / current_version(self._folder)
            if current == folder:
                raise EndpointError(_damaged(folder)) from error
            # Replaced twice since the pointer was read, and what it named then has been cleared away.
            return _open(current)


def current_version(folder: Path) -> str:
    """The name of the version that counts.

    Raises:
        FileNotFoundError: nothing has been published.
    """
    return (folder / POINTER).read_text()


def publish(  # noqa: PLR0913, PLR0917 - what is published, and where it came from
    folder: Path,
    user_ids: ArrayLike,
    matrix: ArrayLike,
    columns: Sequence[str],
    feature_date: dt.date,
    source_version: int,
    nullable: Collection[str] = (),
) -> Published:
    """Make these features the ones that are looked up. The version before stays on disk, older ones go.

    Args:
        folder: of the store; made where it is missing.
        user_ids: distinct integers, in any order.
        matrix: a row a user, finite numbers in the order of ``columns``, or NaN in those that may be null.
        columns: the names of the matrix's columns.
        feature_date: at the end of which UTC day the features were known.
        source_version: the Delta version of the table that they were read from.
        nullable: the columns that may be null.

    Raises:
        ContractError: a user is there twice, a number is missing or infinite, or the shapes do not fit.
    """
    from filelock import FileLock

    ids, features = _sorted(user_ids, matrix, columns)
    _require_numbers(ids, features, columns, nullable)
    folder.mkdir(parents=True, exist_ok=True)
    version = f"{feature_date}-v{source_version}-{uuid.uuid4().hex[:12]}"
    meta = {
        "columns": list(columns),
        "feature_date": feature_date.isoformat(),
        "source_version": source_version,
        "users": len(ids),
    }
    # One publisher at a time, or one would clear away what another is still writing.
    with FileLock(folder / ".lock"):
        target = folder / version
        target.mkdir()
        _write(target / IDS, ids)
        _write(target / FEATURES, features)
        _write(target / META, json.dumps(meta).encode())
        _sync(target)
        previous = _replace_pointer(folder, version)
        _clear(folder, keep={version, previous})
        size = sum(file.stat().st_size for file in target.iterdir())
    return Published(version, len(ids), size, feature_date, source_version)


def _sorted(
    user_ids: ArrayLike, matrix: ArrayLike, columns: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    ids = np.asarray(user_ids, dtype=np.int64).ravel()
    features = np.asarray(matrix, dtype=np.float64)
    if features.shape != (len(ids), len(columns)):
        raise ContractError(
            f"Online features of {len(ids)} users, {len(columns)} columns, have the shape {features.shape}. "
            "Give a row a user and a column a feature."
        )
    order = np.argsort(ids)
    ids, features = ids[order], np.ascontiguousarray(features[order])
    if len(twice := ids[1:][ids[1:] == ids[:-1]]):
        raise ContractError(
            f"Online features hold user_id {twice[0]} twice; expected one row a user. "
            "Publish one feature_date at a time."
        )
    return ids, features


def _require_numbers(
    ids: NDArray[np.int64], features: NDArray[np.float64], columns: Sequence[str], nullable: Collection[str]
) -> None:
    may_be_null = np.array([name in nullable for name in columns], dtype=np.bool_)
    wrong = np.isinf(features) | (np.isnan(features) & ~may_be_null)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        or_null = " or none" if may_be_null[column] else ""
        raise ContractError(
            f"Online features of user_id {ids[row]} have {columns[column]} = {features[row, column]}; "
            f"expected a finite number{or_null}. Mend it in user_features."
        )


def _open(folder: Path) -> Snapshot:
    try:
        meta = json.loads((folder / META).read_bytes())
        # Plain arrays over the mapped files: numpy's own class for them is slower at every step.
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


def _write(path: Path, content: NDArray[Any] | bytes) -> None:
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            np.save(file, content)
        file.flush()
        os.fsync(file.fileno())


def _replace_pointer(folder: Path, version: str) -> str | None:
    """Let the pointer name this version; what it named before."""
    previous = None
    with contextlib.suppress(FileNotFoundError):
        previous = current_version(folder)
    draft = folder / f".{POINTER}-{version}"
    _write(draft, version.encode())
    draft.replace(folder / POINTER)
    _sync(folder)
    return previous


def _clear(folder: Path, keep: set[str | None]) -> None:
    for path in folder.iterdir():
        if path.is_dir() and path.name not in keep:
            shutil.rmtree(path)
        elif path.name.startswith(f".{POINTER}-"):
            path.unlink()


def _sync(folder: Path) -> None:
    """Names of new files survive a power cut only once their folder is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
