"""Ingestion where Spark is Connect, as on standard access mode and serverless: on Spark 4's own server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from churn_assets_tests.conftest import QUICK_JVM

NO_JARS = ("UNRESOLVED DEPENDENCIES", "unresolved dependency", "Server access error")


@pytest.mark.usefixtures("spark")
def test_what_a_connect_server_takes_in_is_told_though_its_workers_lack_this_package(
    tmp_path: Path, deployment: str
) -> None:
    if deployment != "spark":
        pytest.skip("a Spark Connect server of its own takes minutes: make test-spark")
    script = [sys.executable, "-m", "churn_assets_tests.lakehouse.connect_ingestion", str(tmp_path)]

    done = subprocess.run(
        [*script, "day1.json", "day 2 [b].json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={
            **{name: os.environ[name] for name in ("HOME", "JAVA_HOME", "PATH") if name in os.environ},
            "SPARK_SUBMIT_OPTS": QUICK_JVM,
        },
    )

    if any(sign in done.stdout + done.stderr for sign in NO_JARS):
        pytest.skip("Delta's jars for Spark can be had neither from a cache nor from a repository")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "session": "pyspark.sql.connect.session",
        "told": [[1, 1], [1, 1]],
        "landed": ["day 2 [b].json", "day1.json"],
    }
