"""The program that a cluster runs for one step. This file is staged alone: it imports nothing of the package.

Started as ``churn_step.py CONFIG CODE``: the step's ``config.json``, beside which everything of the step is
read and written, and the archive of the package. It leaves ``events-000001.json.gz`` and so on, which the
launcher relays as they come, or ``error.json`` where the step could not even start. Volumes take a file only
whole and in one go, so nothing is appended to, and gzip's checksum tells a reader that a file is complete.
"""

import contextlib
import gzip
import importlib
import importlib.util
import json
import logging
import os
import pickle
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

log = logging.getLogger("churn.remote")

# How long events are gathered before they are written: a file costs a round trip to cloud storage.
BATCH_SECONDS = 0.25
# How long an orphan's step may take to notice that it was interrupted before its process is ended.
GRACE_SECONDS = 15.0
# The last events are what the whole run was for, so a failing Volume is given this long.
FLUSH_SECONDS = 60.0


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
    heartbeat: Heartbeat | None = None
    try:
        config = json.loads(Path(config_file).read_text())
        heartbeat = Heartbeat(folder, **config["heartbeat"])
        heartbeat.start()
        _set_environment(config)
        import_from_archive(code, config["package"], unpacked)
        ended_well = _run_step(folder, heartbeat)
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


class Events:
    """Writes the step's events in batches from a separate thread.

    ``outcome`` is the type of the event that ended the step, None while there is none.
    """

    ENDINGS = frozenset({"STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY", "STEP_SKIPPED"})

    def __init__(self, folder: Path, heartbeat: "Heartbeat") -> None:
        self._folder = folder
        self._heartbeat = heartbeat
        self._queue: queue.Queue[Any] = queue.Queue()
        self._written = 0
        self._thread = threading.Thread(target=self._write, name="churn events", daemon=True)
        self.outcome: str | None = None

    def __enter__(self) -> "Events":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join(FLUSH_SECONDS)

    def put(self, entry: Any) -> None:
        """Queue one event; Dagster calls this in the step's thread."""
        if entry.is_dagster_event and entry.dagster_event.event_type_value in self.ENDINGS:
            self.outcome = entry.dagster_event.event_type_value
        self._queue.put(entry)

    def _write(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            until = time.monotonic() + BATCH_SECONDS
            while batch[-1] is not None and (wait := until - time.monotonic()) > 0:
                with contextlib.suppress(queue.Empty):
                    batch.append(self._queue.get(timeout=wait))
            ended = batch[-1] is None
            self._write_batch([entry for entry in batch if entry is not None])

    def _write_batch(self, entries: list[Any]) -> None:
        from dagster._serdes import serialize_value

        if not entries:
            return
        content = gzip.compress(serialize_value(entries).encode(), compresslevel=3)
        file = self._folder / f"events-{self._written + 1:06d}.json.gz"
        until = time.monotonic() + FLUSH_SECONDS
        while not self._heartbeat.orphaned:
            try:
                file.write_bytes(content)
            except OSError as error:
                if time.monotonic() > until:
                    log.exception("Events could not be written to %s", file)
                    return
                log.warning("Events not written yet: %s", error)
                time.sleep(1)
            else:
                self._written += 1
                return


class Heartbeat(threading.Thread):
    """Ends this process when the launcher's heartbeat stops.

    The launcher writes something new into ``heartbeat`` every so many seconds. No clock but this machine's is
    asked: what counts is that the content changes. An orphan takes its step's folder with it.
    """

    def __init__(self, folder: Path, seconds: float, missed: int) -> None:
        super().__init__(name="churn heartbeat", daemon=True)
        self._folder = folder
        self._seconds = seconds
        self._missed = missed
        self._stopped = threading.Event()
        self.orphaned = False

    def run(self) -> None:
        """Watch the file."""
        last, silent = self._beat(), 0
        while not self._stopped.wait(self._seconds):
            beat = self._beat()
            silent = silent + 1 if beat in (None, last) else 0
            last = beat or last
            if silent >= self._missed:
                self._end()
                return

    def stop(self) -> None:
        """Stop watching: the step is over."""
        self._stopped.set()

    def _beat(self) -> bytes | None:
        try:
            return (self._folder / "heartbeat").read_bytes()
        except OSError:
            return None

    def _end(self) -> None:
        self.orphaned = True
        silence = self._seconds * self._missed
        log.error("The launcher has not been heard of for %.0f s: this orphan ends itself.", silence)
        shutil.rmtree(self._folder, ignore_errors=True)
        # A signal and not an exception: it also wakes a thread that waits for Spark. It lets Spark's own
        # handler cancel the jobs that run.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if not self._stopped.wait(GRACE_SECONDS):
            log.error("The step did not stop within %.0f s: the process ends here.", GRACE_SECONDS)
            os._exit(1)


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


def _run_step(folder: Path, heartbeat: Heartbeat) -> bool:
    # Only here: dagster reads the environment, and finds the package on the path, when it is imported.
    from dagster._core.execution.plan.external_step import (
        external_instance_from_step_run_ref,
        run_step_from_ref,
    )

    step_run_ref = pickle.loads((folder / "step_run_ref.pkl").read_bytes())  # noqa: S301 - the launcher wrote it
    with (
        Events(folder, heartbeat) as events,
        external_instance_from_step_run_ref(step_run_ref, event_listener_fn=events.put) as instance,
    ):
        for _ in run_step_from_ref(step_run_ref, instance):
            pass
    return events.outcome in ("STEP_SUCCESS", "STEP_SKIPPED")


def _write_error(folder: Path, error: BaseException, heartbeat: Heartbeat | None) -> None:
    if heartbeat and heartbeat.orphaned:
        return
    trace = "".join(traceback.format_exception(error))
    description = {"type": type(error).__name__, "message": str(error), "trace": trace[-8000:]}
    with contextlib.suppress(OSError):
        (folder / "error.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main(*sys.argv[1:3])
