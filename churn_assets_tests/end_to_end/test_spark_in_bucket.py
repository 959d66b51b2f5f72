"""Apache Spark, in one process and on a cluster, makes of a lake in a bucket what Sail makes in a folder."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets import bucket
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import TABLES, USER_FEATURES
from churn_assets.verification.verify import verify
from churn_assets_tests.buckets import BucketServer
from churn_assets_tests.conftest import QUICK_JVM, bucket_settings, settings_in
from churn_assets_tests.end_to_end.command import CHURN
from churn_assets_tests.end_to_end.conftest import content
from churn_assets_tests.end_to_end.test_bucket import SMALL, land
from churn_assets_tests.spark_cluster import SparkCluster

TIMEOUT_SECONDS = 3600


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[SparkCluster]:
    # Beside what this test makes, as the workers do not see that.
    with tempfile.TemporaryDirectory() as folder:
        running = SparkCluster(Path(folder), hidden=tmp_path)
        yield running
        running.stop()


def run(settings: Settings, server: BucketServer) -> None:
    """Run the command as a machine of its own would, and require that it is content."""
    done = subprocess.run(
        [CHURN, "run"],
        cwd=settings.local_root.parent,
        env={
            **{name: os.environ[name] for name in ("HOME", "JAVA_HOME", "PATH") if name in os.environ},
            **settings.as_env(),
            **server.environment(),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_SUBMIT_OPTS": QUICK_JVM,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def lake_of(settings: Settings) -> FolderLakehouse:
    return FolderLakehouse(settings, no_engine)


def no_engine() -> SparkSession:
    raise AssertionError("looking at a lake needs no engine")


def in_bucket(uri: str, folder: Path, master: str) -> Settings:
    ours = {**SMALL, "deployment": "spark", "spark_master": master, "dagster_home": None}
    return bucket_settings(uri, folder, **ours)


def require_equal(one: FolderLakehouse, other: FolderLakehouse) -> None:
    made = [table for table in TABLES if one.version(table) > 0]
    assert USER_FEATURES in made
    for table in made:
        there = content(other.location(table), table)
        assert there.equals(content(one.location(table), table)), str(table)


@pytest.mark.parametrize("where", ["in one process", "on a cluster"])
def test_apache_spark_makes_of_a_lake_in_a_bucket_what_sail_makes_in_a_folder(
    where: str,
    bucket_uri: str,
    bucket_server: BucketServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    on_cluster: SparkCluster | None = None
    if where == "on a cluster":
        on_cluster = request.getfixturevalue("cluster")
    settings = in_bucket(bucket_uri, tmp_path, on_cluster.master if on_cluster else "local[2]")
    in_folder = settings_in(tmp_path / "folder", **{**SMALL, "dagster_home": None})
    for landing in (settings.landing_root, in_folder.landing_root):
        land(landing, tmp_path)
    run(in_folder, bucket_server)
    run(settings, bucket_server)

    require_equal(lake_of(in_folder), lake_of(settings))
    assert [one.line() for one in verify(lake_of(settings)) if not one.is_well] == []
    if on_cluster:
        assert on_cluster.executors() == 2

    # Copied to another prefix, and the first one gone: nothing is computed again.
    root = str(settings.lake_root)
    bucket_server.copy(root, f"{root}-renamed")
    bucket.remove(settings.lake_root)
    renamed = settings.model_copy(
        update={
            "lake_root": bucket.path(f"{root}-renamed"),
            "landing_root": f"{root}-renamed/landing/events",
        }
    )
    before = {table: lake_of(renamed).version(table) for table in TABLES}
    run(renamed, bucket_server)
    assert {table: lake_of(renamed).version(table) for table in TABLES} == before
    assert bucket_server.objects(root) == {}
