"""What the bundled endpoint serves: the online features, and the models that it has copied."""

import json
from collections.abc import Iterator

import numpy as np

from churn_assets.errors import EndpointError, one_line
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.serving.endpoint import online_folder, page_folder, state_folder
from churn_assets.serving.features.online_store import OnlineStore, Snapshot
from churn_assets.serving.page.store import opened
from churn_assets.serving.scoring.scorer import DESCRIPTION_FILE, ESTIMATOR_FILE
from churn_assets.serving.versions import version_folders
from churn_assets.tables import USER_FEATURES
from churn_assets.verification.findings import ENDPOINT, ONLINE_FEATURES, PAGE, Finding, damaged, well

REPAIR = f"churn repair {ONLINE_FEATURES}"
REPAIR_PAGE = f"churn repair {PAGE}"
REPAIR_COPIES = "churn repair endpoint"


def online_features(lake: FolderLakehouse, *, deep: bool = False) -> Iterator[Finding]:
    """Look at the published features; nothing where none were."""
    folder = online_folder(lake.settings)
    if not folder.exists():
        return
    says, mend = None, REPAIR
    try:
        snapshot = OnlineStore(folder).snapshot()
    except (EndpointError, OSError, LookupError) as error:
        snapshot, says = None, f"the files at {folder} are damaged ({type(error).__name__})"
    if says is None and snapshot is None and version_folders(folder):
        says, mend = f"none of {folder} are published", "churn run"
    if says is None and snapshot and deep:
        says = _content_damage(snapshot)
    if says:
        yield damaged(ONLINE_FEATURES, says, mend, (ENDPOINT,))
    elif snapshot and snapshot.source_version > lake.version(USER_FEATURES) >= 0:
        says = f"made of version {snapshot.source_version} of user_features, which it has no longer"
        yield damaged(ONLINE_FEATURES, says, "churn run", (ENDPOINT,))
    elif snapshot:
        yield well(ONLINE_FEATURES, f"{len(snapshot.user_ids):,} users of {snapshot.feature_date}")


def page(lake: FolderLakehouse, *, deep: bool = False) -> Iterator[Finding]:
    """Look at what the page shows; nothing where no list was ever published."""
    folder = page_folder(lake.settings)
    if not folder.exists():
        return
    try:
        snapshot = opened(folder)
        if snapshot is None:
            return
        says = snapshot.damage() if deep else None
        snapshot.close()
    except EndpointError as error:
        yield damaged(PAGE, one_line(error), REPAIR_PAGE)
        return
    about = snapshot.about
    if says:
        yield damaged(PAGE, says, REPAIR_PAGE)
    else:
        yield well(PAGE, f"{about.contacts:,} contacts of {about.overview.feature_date}")


def copied_models(lake: FolderLakehouse) -> Iterator[Finding]:
    """Look at the server's copies of models, and at what it says it serves."""
    folder = state_folder(lake.settings)
    state = folder / "endpoint.json"
    if state.exists() and not _is_json(state.read_bytes()):
        yield damaged(ENDPOINT, f"{state} cannot be read", REPAIR_COPIES)
    for model in sorted(folder.glob("models/*")):
        description = model / DESCRIPTION_FILE
        if not (model / ESTIMATOR_FILE).is_file() or not (model / ESTIMATOR_FILE).stat().st_size:
            says = f"its copy of version {model.name} has lost its estimator"
            yield damaged(ENDPOINT, says, REPAIR_COPIES)
        elif not description.is_file() or not _is_json(description.read_bytes()):
            yield damaged(ENDPOINT, f"{description} cannot be read", REPAIR_COPIES)


def _content_damage(snapshot: Snapshot) -> str | None:
    if not (np.diff(snapshot.user_ids) > 0).all():
        return "its users are not in order"
    return "a feature is infinite" if np.isinf(snapshot.features).any() else None


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
