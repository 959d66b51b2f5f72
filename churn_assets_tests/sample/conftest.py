"""A landing zone to import into, and what landed there."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from pyspark.sql import SparkSession

from churn_assets.sample.importer import ImportReport, import_files


class Importing:
    """Imports files of a test's own folder, by default with columns user_id and event_ts."""

    def __init__(self, folder: Path, spark: SparkSession) -> None:
        self.folder = folder
        self.landing = folder / "landing"
        self._spark = spark

    def write(self, name: str, content: str | bytes) -> Path:
        """A file with this content."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def __call__(self, *files: str | Path, **options) -> ImportReport:
        """Import files, named relative to the folder."""
        arguments = {"user_id": "user_id", "event_ts": "event_ts", **options}
        paths = [self.folder / file for file in files]
        return import_files(paths, str(self.landing), lambda: self._spark, **arguments)

    def events(self) -> list[dict]:
        """The events of all landed files, in the order of names and lines."""
        return [
            orjson.loads(line)
            for file in sorted(self.landing.iterdir())
            for line in file.read_bytes().splitlines()
        ]

    def column(self, name: str, content: str, **options) -> list:
        """One field of the events that a CSV file with this content becomes; None where it is left out."""
        self.write("a.csv", content)
        self("a.csv", **options)
        return [event.get(name) for event in self.events()]


@pytest.fixture
def importing(tmp_path: Path, spark: SparkSession) -> Importing:
    return Importing(tmp_path, spark)


@pytest.fixture
def no_spark() -> Callable[[], SparkSession]:
    def refuse() -> SparkSession:
        raise AssertionError("no session was needed")

    return refuse
