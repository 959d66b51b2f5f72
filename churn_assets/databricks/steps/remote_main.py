"""The program that a cluster runs for one step. This file is staged alone: it imports nothing of the package.

Started as ``churn_step.py CONFIG CODE``: the step's ``config.json``, beside which everything of the step is
read and written, and the archive of the code, in which ``churn_remote`` goes on. The step leaves
``events-000001.json.gz`` and so on, which the launcher relays as they come, or ``error.json`` where it could
not even start.
"""

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
import traceback
import zipfile
from pathlib import Path
from typing import Any

log = logging.getLogger("churn.remote")

# Who runs the step there, by the launcher that asks.
RUNNERS = {"step": "churn_remote.by_reference", "pipes": "churn_remote.by_pipes"}


class StepFailedError(Exception):
    """The step failed, as its events say in detail; raised so that the Databricks run is FAILED as well."""


class PackageNotStagedError(Exception):
    """The staged archive does not hold the package."""


def main(config_file: str, code: str) -> None:
    """Run one step.

    Raises:
        StepFailedError: the step failed or asked to be retried.
    """
    folder = Path(config_file).parent
    _log_unbuffered()
    unpacked = tempfile.mkdtemp(prefix="churn-code-")
    heartbeat: Any = None
    try:
        config = json.loads(Path(config_file).read_text())
        import_from_archive(code, config["package"], unpacked)
        heartbeat = importlib.import_module("churn_remote.heartbeat").Heartbeat(folder, **config["heartbeat"])
        heartbeat.start()
        _set_environment(config)
        ended_well = importlib.import_module(RUNNERS[config["launcher"]]).run(folder, config, heartbeat)
    except BaseException as error:
        _write_error(folder, error, heartbeat)
        raise
    finally:
        if heartbeat:
            heartbeat.stop()
        shutil.rmtree(unpacked, ignore_errors=True)
    if not ended_well:
        raise StepFailedError("The step failed; its error is in Dagster and in the log above.")


def import_from_archive(code: str, package: str, unpacked: str) -> None:
    """Unpack the archive and put it first on ``sys.path``, before a package that the cluster has installed.

    The runtime's own pyspark comes next, before one that a library may have pulled in.

    Raises:
        PackageNotStagedError: the archive does not hold the package.
    """
    with zipfile.ZipFile(code) as archive:
        archive.extractall(unpacked)
        packages = sorted({name.split("/")[0] for name in archive.namelist()})
    spark = Path(os.environ.get("SPARK_HOME", "/databricks/spark")) / "python"
    runtime = [str(path) for path in (spark, *sorted(spark.glob("lib/py4j-*.zip"))) if path.exists()]
    # Twice: while Dagster imports the definitions it takes what comes first away, as the folder of a script.
    sys.path[:0] = [unpacked, unpacked, *runtime]
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(package)
    origin = Path(spec.origin).resolve() if spec and spec.origin else None
    if origin is None or not origin.is_relative_to(Path(unpacked).resolve()):
        raise PackageNotStagedError(
            f"The archive {Path(code).name} holds {', '.join(packages) or 'nothing'}, not {package}. "
            "Give the step launcher the folder of the package itself."
        )
    log.info("Package %s from %s", package, Path(code).name)


def _log_unbuffered() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a runtime may have replaced the stream
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # On a cluster it logs each call from Python to Spark.
    logging.getLogger("py4j").setLevel(logging.WARNING)


def _set_environment(config: dict[str, Any]) -> None:
    os.environ.update(config["environment"])
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "true")
    for variable, (scope, key) in config.get("secrets", {}).items():
        from databricks.sdk.runtime import dbutils

        os.environ[variable] = dbutils.secrets.get(scope=scope, key=key)


def _write_error(folder: Path, error: BaseException, heartbeat: Any) -> None:
    if heartbeat and heartbeat.orphaned:
        return
    trace = "".join(traceback.format_exception(error))
    description = {"type": type(error).__name__, "message": str(error), "trace": trace[-8000:]}
    with contextlib.suppress(OSError):
        (folder / "error.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main(*sys.argv[1:3])
