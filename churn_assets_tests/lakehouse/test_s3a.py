"""What Apache Spark is told of a bucket, and what of it others on the machine could read."""

from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from churn_assets.lakehouse import s3a
from churn_assets.lakehouse.folder_engines import folder_engine
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets_tests.buckets import CREDENTIALS
from churn_assets_tests.conftest import bucket_settings

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_s3a_is_of_the_hadoop_that_pyspark_brings() -> None:
    jars = Path(pyspark.__file__).parent / "jars"
    assert (jars / f"hadoop-client-api-{s3a.HADOOP}.jar").exists()


def test_keys_and_addresses_have_s3as_names() -> None:
    others = {"AWS_SESSION_TOKEN": "token", "AWS_ENDPOINT_URL": "http://here", "AWS_REGION": "eu-central-1"}
    assert s3a.hadoop_options({**KEYS, **others, "AWS_PROFILE": "mine"}) == {
        "fs.s3a.access.key": "id",
        "fs.s3a.secret.key": "secret",
        "fs.s3a.session.token": "token",
        "fs.s3a.endpoint": "http://here",
        "fs.s3a.endpoint.region": "eu-central-1",
        "fs.s3a.path.style.access": "true",
    }


def test_without_keys_the_machines_role_is_asked() -> None:
    said = s3a.hadoop_options({"AWS_DEFAULT_REGION": "us-east-1", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"})
    assert said == {"fs.s3a.endpoint.region": "us-east-1", "fs.s3a.path.style.access": "false"}


def test_in_a_bucket_files_are_found_by_listing_and_written_by_arrow(tmp_path: Path) -> None:
    engine = folder_engine(bucket_settings("s3://bucket", tmp_path, deployment="spark"))
    assert (engine.finds_files_by, engine.needs_arrow_writes) == ("listing", True)


def test_the_secret_key_is_in_no_setting_of_the_session(
    bucket_lake: FolderLakehouse, spark: SparkSession, deployment: str
) -> None:
    if deployment != "spark":
        pytest.skip("Sail reads the environment itself")
    context = spark.sparkContext
    assert not any(CREDENTIALS["AWS_SECRET_ACCESS_KEY"] in pair for pair in context.getConf().getAll())
    assert context._jsc.hadoopConfiguration().get("fs.s3a.secret.key")
