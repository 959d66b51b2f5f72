"""Records of what each import landed, so that it can be undone: one small file per import in the lake.

A record is written before the first file lands, so that an import that died can be taken back, too.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from churn_assets.bucket import is_bucket
from churn_assets.errors import ImportFileError, LakeError
from churn_assets.sample.landing_writer import LandingWriter

# From names of landed files to those that Bronze holds.
Ingested = Callable[[set[str]], set[str]]


@dataclass(frozen=True)
class ImportRecord:
    """One import: its name, which is its time; the landing zone; landed name and sha256 of its sources."""

    name: str
    landing: str
    mapping: dict
    files: dict[str, str] = field(default_factory=dict)


class ImportRecords:
    """The records of a lake.

    Args:
        folder: where they are; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[ImportRecord]:
        """Return the imports that were not undone, in the order in which they began."""
        paths = sorted(self._folder.glob("*.json"))
        return [ImportRecord(**orjson.loads(path.read_bytes())) for path in paths]

    def begin(self, landing: str, mapping: dict, files: dict[str, str], now: dt.datetime) -> ImportRecord:
        """Record an import that is about to land files.

        Raises:
            LakeError: the lake cannot be written.
        """
        name = f"{now:%Y-%m-%dT%H-%M-%S-%f}"
        record = ImportRecord(name, landing, mapping, files)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            content = orjson.dumps(asdict(record))
            if is_bucket(self._folder):
                # There in full or not at all.
                self._path(record).write_bytes(content)
            else:
                unfinished = self._folder / f".{name}"
                unfinished.write_bytes(content)
                unfinished.rename(self._path(record))
        except OSError as error:
            raise LakeError(
                f"{self._folder} cannot be written: {error.strerror}. Make it writable."
            ) from error
        return record

    def forget(self, record: ImportRecord) -> None:
        """Delete the record of an import that has no file left."""
        self._path(record).unlink(missing_ok=True)

    def undo(self, name: str | None, landing: str, ingested: Ingested) -> tuple[ImportRecord, int]:
        """Undo an import: remove its landed files.

        Args:
            name: of the import; the last one without it.
            landing: the landing zone, which must be that of the import.
            ingested: asked which files Bronze holds; nothing may be taken in meanwhile.

        Returns:
            The import, and how many files were removed.

        Raises:
            ImportFileError: there is no such import, or Bronze holds it.
        """
        records = self.all()
        matches = [record for record in records if name in {None, record.name}]
        if not matches:
            known = (
                f"Imports: {', '.join(record.name for record in records[-5:])}."
                if records
                else "There is none."
            )
            raise ImportFileError(f"There is no import {name or 'to take back'}. {known}")
        record = matches[-1]
        if record.landing != landing:
            raise ImportFileError(
                f"Import {record.name} went to {record.landing}, and the landing zone is {landing}. "
                f"Set CHURN_LANDING_ROOT={record.landing}."
            )
        if held := ingested(set(record.files)):
            raise ImportFileError(
                f"Import {record.name} cannot be taken back: {len(held)} of its {len(record.files)} files "
                "have been ingested. Start a new lake (CHURN_LAKE_ROOT) and import the right files there."
            )
        writer = LandingWriter(landing)
        removed = sum(writer.remove(landed) for landed in record.files)
        self.forget(record)
        return record, removed

    def _path(self, record: ImportRecord) -> Path:
        return self._folder / f"{record.name}.json"
