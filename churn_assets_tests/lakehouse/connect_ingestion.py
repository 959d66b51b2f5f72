"""Run as a process: takes in what lands, on a Spark Connect server of its own, and prints what it was told.

Arguments: the lake's folder, then the names of the files to land, one ingestion each. The server's Python
workers cannot import this project, as the workers of a standard cluster or of serverless compute cannot.
"""

import datetime as dt
import json
import os
import sys
from pathlib import Path

from delta import configure_spark_with_delta_pip
from pyspark.sql import SparkSession

from churn_assets import settings as settings_module
from churn_assets.lakehouse import engines
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.ingestion import ingest
from churn_assets.tables import LANDED_EVENTS

WITHOUT_THE_PROJECT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "churn_assets":
            raise ModuleNotFoundError(f"No module named {name!r} on this worker", name=name)

sys.meta_path.insert(0, Absent())
"""


def connect_session(folder: Path) -> SparkSession:
    """Start a Connect server with Delta, as ``pyspark --remote local`` does."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT_THE_PROJECT)
    # Read by the server, whose workers inherit it; this process has started already.
    os.environ |= {"PYTHONPATH": str(folder), "PYSPARK_PYTHON": sys.executable, "TZ": "UTC"}
    builder = SparkSession.builder.remote("local[2]")
    for key, value in {**engines.SPARK_CONFIG, **engines.UTC_SESSION}.items():
        builder = builder.config(key, value)
    return configure_spark_with_delta_pip(builder).getOrCreate()


def main(folder: Path, *names: str) -> None:
    """Land one file, take it in, and the next; print files and rows of each ingestion, and Bronze's names."""
    landing = folder / "landing"
    landing.mkdir()
    settings = settings_module.load(
        _env_file=None, deployment="spark", lake_root=folder / "lake", landing_root=str(landing)
    )
    session = connect_session(folder / "worker")
    lake = FolderLakehouse(settings, lambda: session)
    told = []
    for name in names:
        (landing / name).write_text(f'{{"event_id":"{name}","user_id":1}}\n')
        ingestion = ingest(lake, lambda: dt.datetime.now(dt.UTC))
        told.append([ingestion.files, ingestion.write.rows if ingestion.write else 0])
    landed = sorted(row["_source_file"] for row in lake.read(LANDED_EVENTS).collect())
    print(json.dumps({"session": type(session).__module__, "told": told, "landed": landed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
