"""How Apache Spark reads a lake in a bucket: by Hadoop's S3A, told what every other reader of it is told.

The names in the environment are those of ``bucket``. Nothing of it goes into Spark's settings, which are the
driver's arguments, for everyone on the machine to read, and the executors' in Spark's UI.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The Hadoop that pyspark brings, and the SDK that this Hadoop was built with: neither goes with another.
HADOOP, SDK = "3.5.0", "2.35.4"
# What S3A uses of the SDK. Its own dependency, a bundle of all services, has 686 MB, and each executor
# fetches what the driver has.
PACKAGES = (
    f"org.apache.hadoop:hadoop-aws:{HADOOP}",
    *(f"software.amazon.awssdk:{module}:{SDK}" for module in ("s3", "s3-transfer-manager", "sts")),
)
SPARK_CONFIG = {
    "spark.jars.excludes": "software.amazon.awssdk:bundle",
    # A table is s3:// to everyone, S3A's own scheme to nobody.
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
    # About half a minute, as ``bucket.RETRIES``; S3A's own go on for several.
    "spark.hadoop.fs.s3a.attempts.maximum": "3",
    "spark.hadoop.fs.s3a.retry.limit": "4",
    "spark.hadoop.fs.s3a.retry.throttle.limit": "6",
}

# What Python on the workers, which reads event files and writes tables' files, is told as well.
FOR_WORKERS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
)


def hadoop_options(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what S3A is to be told; without keys it asks the container's or the machine's role."""
    names = {
        "fs.s3a.access.key": "AWS_ACCESS_KEY_ID",
        "fs.s3a.secret.key": "AWS_SECRET_ACCESS_KEY",
        "fs.s3a.session.token": "AWS_SESSION_TOKEN",
        "fs.s3a.endpoint": "AWS_ENDPOINT_URL",
    }
    options = {option: value for option, name in names.items() if (value := environment.get(name))}
    if region := environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"):
        options["fs.s3a.endpoint.region"] = region
    # As the others do, whose rule it is.
    is_virtual = environment.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in {"true", "1"}
    options["fs.s3a.path.style.access"] = "false" if is_virtual else "true"
    return options


def introduce(session: "SparkSession") -> None:
    """Tell a session's driver and workers where the bucket is and who asks, as the environment says it."""
    context = session.sparkContext
    # Not in Python's own interface; typed as if it could be missing.
    java: Any = context._jsc
    hadoop = java.hadoopConfiguration()
    for name, value in hadoop_options(os.environ).items():
        hadoop.set(name, value)
    context.environment.update({name: os.environ[name] for name in FOR_WORKERS if os.environ.get(name)})
