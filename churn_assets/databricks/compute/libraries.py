"""The libraries that a cluster installs from PyPI before a step: pinned, without the runtime's own."""

from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

DISTRIBUTION = "churn-assets"
# Beside the package in a checkout; an installed wheel has none.
LOCK = Path(__file__).parents[3] / "requirements.lock"

# The runtime's own must win: a pip pyspark would shadow the one that fits the cluster.
OF_THE_RUNTIME = {"pyspark", "pysail", "delta-spark"}
OF_SPARK_CONNECT = {"googleapis-common-protos", "grpcio", "grpcio-status", "zstandard"}
# It would pull pyspark in, so its few modules are staged beside the package instead.
STAGED = {"dagster-pyspark"}
OF_THE_ORCHESTRATOR = {"dagster-databricks", "dagster-webserver", "rich", "typer"}
OF_THE_ENDPOINT = {"httptools", "prometheus-client", "starlette", "uvicorn", "uvloop"}
NOT_ON_A_CLUSTER = OF_THE_RUNTIME | OF_SPARK_CONNECT | STAGED | OF_THE_ORCHESTRATOR | OF_THE_ENDPOINT


@cache
def cluster_libraries(python: str, lock: Path = LOCK) -> tuple[str, ...]:
    """Return the pins that the package needs on a cluster, such as ``dagster==1.13.27``, sorted by name.

    Args:
        python: the cluster's Python, such as ``3.12``: some versions are for one only.
        lock: a ``requirements.lock``; where there is none, the versions installed here count.
    """
    pins = locked(lock, python) if lock.exists() else {}
    on_cluster = _environment(python)
    try:
        requirements = [Requirement(line) for line in requires(DISTRIBUTION) or []]
        needed = {
            canonicalize_name(requirement.name)
            for requirement in requirements
            if requirement.marker is None or requirement.marker.evaluate(on_cluster)
        }
    except PackageNotFoundError:
        # A checkout that is on the path without having been installed.
        needed = set(pins)
    return tuple(
        f"{name}=={pins.get(name) or version(name)}"
        for name in sorted(needed)
        if name not in NOT_ON_A_CLUSTER
    )


def locked(lock: Path, python: str) -> dict[str, str]:
    """Return the locked versions for a Python version on Linux, by canonical name."""
    environment = _environment(python)
    pins = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        try:
            requirement = Requirement(line.removesuffix("\\").strip())
        except InvalidRequirement:
            # A hash, a comment, or nothing.
            continue
        if requirement.marker is None or requirement.marker.evaluate(environment):
            pins[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    return pins


def _environment(python: str) -> dict[str, str]:
    """The environment that markers such as ``python_version < "3.12"`` are evaluated in."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
