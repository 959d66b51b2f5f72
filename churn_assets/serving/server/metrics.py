"""What the server measures, for Prometheus; several workers write into files of one folder."""

import time
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
DIFFERENCES = (0.0, 1e-9, 1e-6, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """The metrics of one worker, and the page that shows those of all."""

    def __init__(self, folder: Path | None) -> None:
        """Make them.

        Args:
            folder: the one that prometheus_client's ``PROMETHEUS_MULTIPROC_DIR`` names; None for one worker.
        """
        self._folder = folder
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
        self._held: str | None = None
        self._measured = 0.0
        self.measure_memory()

    def answered(self, status: int, rows: int, seconds: float) -> None:
        """Count one request."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(str(status))
        counter.inc()
        self._seconds.observe(seconds)
        if rows:
            self._rows.inc(rows)

    def model_is(self, version: str) -> None:
        """Say which version this worker holds now."""
        if self._held is not None:
            self._version.labels(self._held).set(0)
        self._held = version
        self._version.labels(version).set(1)

    def loaded(self, seconds: float) -> None:
        """Count one loading."""
        self._loads.inc()
        self._load_seconds.observe(seconds)
        self.measure_memory()

    def scaled_down(self) -> None:
        """Count a worker that ends because nobody asks."""
        self._scale_downs.inc()

    def shadowed(self, differences: list[float]) -> None:
        """Count what a shadow scored."""
        self._shadow_rows.inc(len(differences))
        for difference in differences:
            self._shadow_difference.observe(difference)

    def shadow_failed(self) -> None:
        """Count a request that the shadow could not score."""
        self._shadow_failures.inc()

    def shadow_skipped(self) -> None:
        """Count a request that the shadow had no time for."""
        self._shadow_skipped.inc()

    def measure_memory(self) -> None:
        """Note this worker's resident memory, at most once a second."""
        if time.monotonic() - self._measured >= 1:
            self._measured = time.monotonic()
            self._memory.set(psutil.Process().memory_info().rss)

    def page(self, *, registry_fails: bool) -> bytes:
        """The metrics of all workers, in Prometheus' text format.

        Args:
            registry_fails: whether the follower could not ask the registry when it last tried.
        """
        self.measure_memory()
        self._registry_fails.set(registry_fails)
        if self._folder is None:
            return generate_latest(self._registry)
        self._forget_the_dead(self._folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._folder))
        return generate_latest(registry)

    @staticmethod
    def _forget_the_dead(folder: Path) -> None:
        # Counters of ended workers stay; what they held in memory does not.
        for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
            if not psutil.pid_exists(pid):
                mark_process_dead(pid, path=str(folder))
