"""Files beside the tables that nothing reads any more: reports, copies of models, and what was put aside."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from churn_assets import bucket
from churn_assets.model.registry import promotions
from churn_assets.serving.endpoint import online_folder, page_folder, state_folder
from churn_assets.serving.versions import POINTER, current_version, version_folders
from churn_assets.settings import Settings

# What repairs and killed writers left, by names that nothing else has.
PUT_ASIDE = ("**/.*.damaged-*", "*/*/.*.half-made-*", "mlflow/*.half-made")


def prune(settings: Settings, before: dt.datetime, *, dry_run: bool = False) -> int:
    """Remove them, if they have not changed since a time.

    Returns:
        How many there were.
    """
    old = [path for path in sorted({*_unread(settings)}) if path.stat().st_mtime < before.timestamp()]
    for path in [] if dry_run else old:
        bucket.remove(path)
    return len(old)


def _unread(settings: Settings) -> Iterator[Path]:
    # What the registry does not say is not taken for "none": where it fails, so does this.
    registered = set(map(str, promotions.registered_versions(settings)))
    for report in (settings.lake_root / "reports").glob("model-*.html"):
        if report.stem.removeprefix("model-") not in registered:
            yield report
    for copy in (state_folder(settings) / "models").glob("[0-9]*"):
        if copy.name not in registered:
            yield copy
    for published in (online_folder(settings), page_folder(settings)):
        if (published / POINTER).exists():
            current = current_version(published)
            yield from (folder for folder in version_folders(published) if folder.name != current)
    for pattern in PUT_ASIDE:
        yield from settings.lake_root.glob(pattern)
