"""The server's metrics for Prometheus; several workers write into files of one folder."""

import logging
import os
import time
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
DIFFERENCES = (0.0, 1e-9, 1e-6, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


log = logging.getLogger("churn.serve")

# The first part of the names of prometheus_client's files, one for each kind of the metrics below, and their
# size, which holds three times what these metrics need.
FILES = ("counter", "histogram", "gauge_livesum", "gauge_liveall", "gauge_livemax")
FILE_BYTES = 64 * 1024


def _take_room(folder: Path) -> None:
    """Write this worker's files before prometheus_client maps them.

    It maps files with holes, and to write into a hole of a full disk ends the process (SIGBUS).
    """
    try:
        for name in FILES:
            with (folder / f"{name}_{os.getpid()}.db").open("xb") as file:
                file.write(bytes(FILE_BYTES))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        log.warning("%s cannot be written (%s): this worker's metrics stay its own", folder, error.strerror)
        values.ValueClass = values.MutexValue
        for name in FILES:
            (folder / f"{name}_{os.getpid()}.db").unlink(missing_ok=True)


class Metrics:
    """The metrics of one worker, and the page with those of all workers."""

    def __init__(self, folder: Path | None) -> None:
        """Create the metrics.

        Args:
            folder: prometheus_client's ``PROMETHEUS_MULTIPROC_DIR``; None for a single worker.
        """
        self._folder = folder
        if folder is not None:
            _take_room(folder)
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "churn_requests", "Scoring requests by HTTP status", ["status"], registry=registry
        )
        self._rows = Counter("churn_rows_scored", "Rows scored", registry=registry)
        self._seconds = Histogram(
            "churn_request_seconds", "From a request's head to its answer", buckets=SECONDS, registry=registry
        )
        self._loads = Counter("churn_model_loads", "Times a worker loaded a model", registry=registry)
        self._load_seconds = Histogram(
            "churn_model_load_seconds", "Time to load a model", buckets=SECONDS, registry=registry
        )
        self._scale_downs = Counter(
            "churn_scale_downs", "Times a worker gave its memory back after idleness", registry=registry
        )
        self._version = Gauge(
            "churn_model_version",
            "Workers that hold this version in memory",
            ["version"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._memory = Gauge(
            "churn_worker_resident_bytes",
            "Resident memory of each worker",
            registry=registry,
            multiprocess_mode="liveall",
        )
        self._registry_fails = Gauge(
            "churn_registry_fails",
            "1 while the model registry cannot be asked, and promotions go unnoticed",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._shadow_rows = Counter("churn_shadow_rows", "Rows that a shadow scored too", registry=registry)
        self._shadow_failures = Counter(
            "churn_shadow_failures", "Requests that a shadow could not score", registry=registry
        )
        self._shadow_skipped = Counter(
            "churn_shadow_skipped", "Requests that found the shadow busy", registry=registry
        )
        self._shadow_difference = Histogram(
            "churn_shadow_difference",
            "Absolute difference between shadow and answer",
            buckets=DIFFERENCES,
            registry=registry,
        )
        self._by_status: dict[int, Counter] = {}
        self._current_version: str | None = None
        self._memory_measured_at = 0.0
        self.measure_memory()

    def record_request(self, status: int, rows: int, seconds: float) -> None:
        """Count a request, its scored rows and its time."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(str(status))
        counter.inc()
        self._seconds.observe(seconds)
        if rows:
            self._rows.inc(rows)

    def set_version(self, version: str) -> None:
        """Record the version that this worker has in memory."""
        if self._current_version is not None:
            self._version.labels(self._current_version).set(0)
        self._current_version = version
        self._version.labels(version).set(1)

    def record_load(self, seconds: float) -> None:
        """Count the loading of a model, and its time."""
        self._loads.inc()
        self._load_seconds.observe(seconds)
        self.measure_memory()

    def count_scale_down(self) -> None:
        """Count the end of an idle worker."""
        self._scale_downs.inc()

    def record_shadow(self, differences: list[float]) -> None:
        """Record the absolute differences between the shadow's scores and the answers, one for each row."""
        self._shadow_rows.inc(len(differences))
        for difference in differences:
            self._shadow_difference.observe(difference)

    def count_shadow_failure(self) -> None:
        """Count a request that the shadow failed to score."""
        self._shadow_failures.inc()

    def count_shadow_skip(self) -> None:
        """Count a request that the shadow skipped."""
        self._shadow_skipped.inc()

    def measure_memory(self) -> None:
        """Measure this worker's resident memory, at most once a second."""
        if time.monotonic() - self._memory_measured_at >= 1:
            self._memory_measured_at = time.monotonic()
            self._memory.set(psutil.Process().memory_info().rss)

    def page(self, *, registry_fails: bool) -> bytes:
        """Return the metrics of all workers in Prometheus' text format.

        Args:
            registry_fails: whether the follower's last request to the registry failed.
        """
        self.measure_memory()
        self._registry_fails.set(registry_fails)
        if self._folder is None:
            return generate_latest(self._registry)
        self._remove_ended_workers(self._folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._folder))
        return generate_latest(registry)

    @staticmethod
    def _remove_ended_workers(folder: Path) -> None:
        # The counters of ended workers stay; their gauges go.
        for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
            if not psutil.pid_exists(pid):
                mark_process_dead(pid, path=str(folder))
