"""Models: which were trained with the erased, the rows that their examples show, and the online features."""

import json
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from churn_assets import stored_databases
from churn_assets.erasure import published, tables
from churn_assets.erasure.files import files_below, replace_text
from churn_assets.erasure.people import USER_ID, People
from churn_assets.lakehouse.file_rows import opened_parquet
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import state_folder
from churn_assets.serving.features import online_store
from churn_assets.serving.shared_store import ONLINE
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, FEATURE_COLUMNS, USER_FEATURES
from churn_assets.verification.models import StoredVersion, stored_versions

EXAMPLES = ("input_example.json", "serving_input_example.json")

_SPLIT = "SELECT value FROM tags WHERE run_uuid = ? AND key = 'split'"


class Example(NamedTuple):
    """A file with rows that a model was trained on, and the places of those that are of the erased."""

    path: str
    rows: tuple[int, ...]


def trained_with(lake: FolderLakehouse, people: People) -> list[int]:
    """Return the registered versions whose training dates have labels of these users.

    Which users a training's sample had is not kept: a version is named where it may have had them.
    """
    days = tables.days_of(lake, CHURN_LABELS, people)
    found = []
    for stored in stored_versions(lake.settings):
        first, last = _trained_on(lake.settings, stored)
        if any(first <= str(day) <= last for day in days):
            found.append(int(stored.version))
    return found


def examples(lake: FolderLakehouse, people: People) -> list[Example]:
    """Find rows of these users, by all their features, among the examples of models."""
    theirs = _feature_rows(lake, people)
    found = []
    for path in _example_files(lake.settings) if theirs else ():
        columns, rows = _table(json.loads(path.read_text()))
        known = [{name: value for name, value in one.items() if name in columns} for one in theirs]
        places = [
            place for place, row in enumerate(rows) if any(_is_same(row, columns, one) for one in known)
        ]
        if places:
            found.append(Example(_named(lake.settings, path), tuple(places)))
    return found


def replace_examples(lake: FolderLakehouse, people: People, found: Collection[Example]) -> None:
    """Put another user's features into the place of these rows, and sign the versions again."""
    if not found:
        return
    other = _someone_else(lake, people)
    changed = []
    for example in found:
        path = _path(lake.settings, example.path)
        if not path.exists():
            # A copy of the machine on which this was begun, or of a version that is gone.
            continue
        changed.append(path)
        before = path.read_text()
        content = json.loads(before)
        columns, rows = _table(content)
        for place in example.rows:
            rows[place] = [other[name] for name in columns]
        # As long as it was: a model's description says how many bytes it has.
        replace_text(path, json.dumps(content).ljust(len(before)))
    _sign(lake.settings, changed)


def online_users(settings: Settings, people: People) -> int:
    """Count these users among the published features of any version."""
    with published.all_versions(settings, ONLINE) as folders:
        return len({int(one) for folder in folders for one in _theirs(folder, people)})


def clean_online_store(settings: Settings, people: People) -> None:
    """Publish the online features without these users, and remove what was published before."""
    with published.all_versions(settings, ONLINE) as folders:
        if not any(len(_theirs(one, people)) for one in folders):
            return
    with published.replacing(settings, ONLINE) as folder:
        if snapshot := online_store.OnlineStore(folder).snapshot():
            stays = ~np.isin(snapshot.user_ids, _ids(people))
            online_store.publish(
                folder,
                snapshot.user_ids[stays],
                snapshot.features[stays],
                snapshot.columns,
                snapshot.feature_date,
                snapshot.source_version,
                nullable=snapshot.columns,
            )


def _trained_on(settings: Settings, stored: StoredVersion) -> tuple[str, str]:
    """Return the first and last training date; none before all dates where they are not known."""
    place = registry.database(settings)
    if place is None or stored.run_id is None:
        return "", "9999"
    with stored_databases.reading(place) as connection:
        row = connection.execute(_SPLIT, (stored.run_id,)).fetchone()
    first, last = json.loads(row[0])["train"] if row else ("", "9999")
    return first, last


def _feature_rows(lake: FolderLakehouse, people: People) -> list[dict[str, Any]]:
    """Return these users' rows of user_features, as they are and as versions were trained on them."""
    location = lake.location(USER_FEATURES)
    if lake.version(USER_FEATURES) < 0:
        return []
    needed = {stored.delta_versions.get(str(USER_FEATURES)) for stored in stored_versions(lake.settings)}
    rows = []
    for version in {lake.version(USER_FEATURES), *needed} - {None}:
        try:
            past = DeltaTable(location, version=version).to_pyarrow_table(
                filters=[(USER_ID, "in", _ids(people))]
            )
        except (DeltaError, OSError):
            # Gone already: nobody can be told by it.
            continue
        rows += past.to_pylist()
    return rows


def _someone_else(lake: FolderLakehouse, people: People) -> dict[str, float]:
    for path in sorted(lake.location(USER_FEATURES).rglob("*.parquet")):
        if "_delta_log" in path.parts:
            continue
        with opened_parquet(path) as parquet:
            rows = parquet.read().to_pylist()
        for row in rows:
            if row[USER_ID] not in people.user_ids:
                return {name: _filled(row.get(name)) for name in FEATURE_COLUMNS}
    return dict.fromkeys(FEATURE_COLUMNS, 1.0)


def _example_files(settings: Settings) -> Iterator[Path]:
    for root in (settings.lake_root / "mlflow" / "artifacts", state_folder(settings) / "models"):
        yield from (file for file in files_below(root) if file.name in EXAMPLES)


def _named(settings: Settings, path: Path) -> str:
    """Return a path within the lake; in full where it is elsewhere on this machine."""
    return str(path).removeprefix(f"{settings.lake_root}/")


def _path(settings: Settings, name: str) -> Path:
    return Path(name) if name.startswith("/") else settings.lake_root / name


def _table(content: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    table = content.get("dataframe_split", content)
    return table.get("columns", []), table.get("data", [])


def _is_same(row: list[Any], columns: list[str], features: dict[str, Any]) -> bool:
    return all(
        _number(value) == _number(features.get(name)) for name, value in zip(columns, row, strict=True)
    )


def _number(value: Any) -> float | None:
    # Examples have NaN where a table has null.
    return None if value is None or math.isnan(value) else float(value)


def _filled(value: Any) -> float:
    return math.nan if value is None else float(value)


def _sign(settings: Settings, changed: Collection[Path]) -> None:
    from mlflow import MlflowClient

    from churn_assets.model.registry import signatures

    registry.configure(settings)
    client, name = MlflowClient(), registry.registered_model_name(settings)
    for stored in stored_versions(settings):
        folder = f"{stored.folder.resolve()}/" if stored.folder else None
        if folder and any(str(path.resolve()).startswith(folder) for path in changed):
            signatures.sign(settings, client, client.get_model_version(name, stored.version))


def _theirs(folder: Path, people: People) -> np.ndarray:
    try:
        ids = np.load(folder / online_store.IDS)
    except (OSError, ValueError, EOFError):
        return np.array([], dtype=np.int64)
    return ids[np.isin(ids, _ids(people))]


def _ids(people: People) -> list[int]:
    return sorted(people.user_ids)
