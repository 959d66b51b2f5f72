"""Logs, pages, samples and copies: all files beside tables, event files and databases."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from churn_assets import bucket
from churn_assets.erasure.people import People
from churn_assets.lakehouse import erased_users
from churn_assets.settings import Settings

WITH_SAMPLES = "md_str"
NO_SAMPLE = "Rows of an erased user were shown here. The next materialisation shows others."

# Texts that people and programs read, by their suffixes; compute logs are .out and .err.
TEXTS = (".csv", ".err", ".html", ".json", ".jsonl", ".log", ".md", ".out", ".txt", ".yaml", ".yml")


def texts(settings: Settings) -> list[Path]:
    """Return logs, pages, records and notes of the lake and of Dagster: no table, no model, no event file."""
    apart = [str(folder).rstrip("/") for folder in _apart(settings)]
    return [
        file
        for file in _files(settings)
        if file.suffix in TEXTS and not any(str(file).startswith(f"{folder}/") for folder in apart)
    ]


def cleaned_text(text: str, people: People) -> str:
    """Return a text, JSON or not, without the ids; a sample of rows that has one is left out as a whole."""
    if WITH_SAMPLES in text:
        try:
            content = json.loads(text)
        except ValueError:
            return people.redacted(text)
        cleaned = _without_samples(content, people)
        text = text if cleaned == content else json.dumps(cleaned, sort_keys=True)
    return people.redacted(text)


def clean_text(path: Path, people: People, *, dry_run: bool = False) -> int:
    """Take the ids out of a text file; rows of a CSV file with a user_id go as a whole.

    Returns:
        How many lines had them.
    """
    try:
        before = path.read_text()
    except (OSError, UnicodeDecodeError):
        return 0
    if not people.may_be_in(before):
        return 0
    after = _csv_without(before, people) if path.suffix == ".csv" else cleaned_text(before, people)
    if after == before:
        return 0
    if not dry_run:
        replace_text(path, after)
    kept = set(after.splitlines())
    return sum(line not in kept for line in before.splitlines())


def replace_text(path: Path, text: str) -> None:
    """Write a text in the place of another: whoever reads it meanwhile has one of both."""
    if bucket.is_bucket(path):
        path.write_text(text)
        return
    draft = path.with_name(f".{path.name}.erasing")
    draft.write_text(text)
    draft.chmod(path.stat().st_mode & 0o777)
    os.replace(draft, path)  # noqa: PTH105 - atomically, on the same file system


def still_named(settings: Settings, people: People) -> list[Path]:
    """Return files of the lake, but tables, that still have a telling source id in their bytes or name."""
    return [
        file
        for file in _files(settings)
        if people.redacted(str(file.name)) != file.name
        or (file.suffix != ".parquet" and _is_in(people, file))
    ]


def _is_in(people: People, file: Path) -> bool:
    try:
        return people.is_mentioned_in(file)
    except FileNotFoundError:
        # Gone since it was listed, as the objects are by which a lease asks for the time.
        return False


def _csv_without(text: str, people: People) -> str:
    head, *lines = text.splitlines(keepends=True)
    columns = next(csv.reader(io.StringIO(head)), [])
    if "user_id" not in columns:
        return people.redacted(text)
    place = columns.index("user_id")
    rows = zip(lines, csv.reader(io.StringIO("".join(lines))), strict=False)
    return head + "".join(line for line, row in rows if len(row) <= place or not people.is_user(row[place]))


def _without_samples(content: Any, people: People) -> Any:
    if isinstance(content, dict):
        return {
            name: NO_SAMPLE
            if name == WITH_SAMPLES and isinstance(one, str) and people.may_be_in(one)
            else _without_samples(one, people)
            for name, one in content.items()
        }
    if isinstance(content, list):
        return [_without_samples(one, people) for one in content]
    return content


def _files(settings: Settings) -> list[Path]:
    """Return all files of the lake, of what a bucket's has on this machine, and of Dagster, once each."""
    roots = (settings.lake_root, settings.local_root, settings.dagster_home_folder)
    return list({str(file): file for root in dict.fromkeys(roots) for file in files_below(root)}.values())


def _apart(settings: Settings) -> list[Path | str]:
    catalogs = [settings.lake_root / name for name in (settings.raw_catalog, settings.main_catalog)]
    models = [root / "mlflow" / "artifacts" / "models" for root in (settings.lake_root, settings.local_root)]
    return [*catalogs, erased_users.folder(settings), *models, settings.landing_root]


def files_below(root: Path) -> list[Path]:
    """Return all files of a folder and its folders, links left out; of a prefix, all objects."""
    if bucket.is_bucket(root):
        return [root / name for name in sorted(bucket.sizes(root))]
    return [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
