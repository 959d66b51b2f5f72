"""What Apache Spark is told of a bucket, and what of it others on the machine could read."""

from pathlib import Path
from typing import Any

import pyspark
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from churn_assets.lakehouse import ddl, s3a
from churn_assets.lakehouse.folder_engines import folder_engine
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import TABLES
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


def test_a_table_that_no_engine_has_made_is_as_its_contract_says(tmp_path: Path) -> None:
    for table in TABLES:
        place = tmp_path / table.schema / table.name
        ddl.create_on_disk(table, place)
        ddl.create_on_disk(table, place)
        ddl.require_contract(table, place)
        made = DeltaTable(place)
        assert made.version() == 0
        assert made.metadata().description == table.comment
        assert {field.name: field.nullable for field in made.schema().fields} == {
            column.name: column.nullable for column in table.columns
        }
        assert [field.metadata["comment"] for field in made.schema().fields] == [
            column.comment for column in table.columns
        ]
        kept = ddl.LOG_KEPT if table in ddl.TRAINED_ON else {}
        assert made.metadata().configuration == kept


def test_the_secret_key_is_in_no_setting_of_the_session(
    bucket_lake: FolderLakehouse, spark: SparkSession, deployment: str
) -> None:
    if deployment != "spark":
        pytest.skip("Sail reads the environment itself")
    context = spark.sparkContext
    assert not any(CREDENTIALS["AWS_SECRET_ACCESS_KEY"] in pair for pair in context.getConf().getAll())
    java: Any = context._jsc
    assert java.hadoopConfiguration().get("fs.s3a.secret.key")
