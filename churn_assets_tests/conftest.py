"""One engine session for the whole test run: Sail, or Apache Spark with CHURN_DEPLOYMENT=spark."""

import pytest
from pyspark.sql import SparkSession

from churn_assets import settings as settings_module
from churn_assets.lakehouse.engines import ApacheSpark, EmbeddedSail


@pytest.fixture(scope="session")
def deployment() -> str:
    return settings_module.load().deployment


@pytest.fixture(scope="session")
def spark(deployment: str) -> SparkSession:
    if deployment == "spark":
        return ApacheSpark(master="local[2]").spark_session
    return EmbeddedSail(catalogs=["main_catalog", "raw_catalog"]).spark_session
