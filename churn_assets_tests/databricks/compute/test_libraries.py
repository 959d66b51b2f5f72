"""What a cluster installs: the same versions as here, nothing of Spark's, and all that remote code needs."""

import json
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from churn_assets.databricks.archive import package_folder
from churn_assets.databricks.compute.libraries import cluster_requirements
from churn_assets.databricks.workflow.wheel import PACKAGES
from churn_assets_tests.workspace import environment

LOCK = environment.ROOT / "requirements.lock"
ON_THE_CLUSTER = {"python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux"}
# Where each of the runtime's own packages is imported from, and as which version.
REPORT = """
import importlib.metadata, json, sys
import google.protobuf, google.rpc, grpc, grpc_status, numpy, pandas, pyarrow, pyspark

modules = {
    "googleapis-common-protos": google.rpc, "grpcio": grpc, "grpcio-status": grpc_status, "numpy": numpy,
    "pandas": pandas, "protobuf": google.protobuf, "pyarrow": pyarrow, "pyspark-client": pyspark,
}
print(json.dumps({
    name: [importlib.metadata.version(name), list(module.__path__)] for name, module in modules.items()
}))
"""
# Both ways in: what a step loads, and what a task of the job runs.
LOAD = """
import churn_assets.commands.task
from churn_assets.definitions import defs

print(len(list(defs.resolve_all_asset_specs())))
"""


def pins(text: str) -> dict[str, str]:
    """The versions that a requirements file has for the cluster, by canonical name."""
    found = {}
    for line in text.splitlines():
        try:
            requirement = Requirement(line.removesuffix("\\").strip())
        except InvalidRequirement:
            # A hash, a comment, or nothing.
            continue
        if requirement.marker is None or requirement.marker.evaluate(ON_THE_CLUSTER):
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def on_the_cluster(python: Path, code: str, *staged: Path) -> str:
    """What a program prints on a cluster that has installed the requirements, the staged folders first."""
    path = [*map(str, staged), str(environment.cluster_libraries())]
    done = subprocess.run(
        [python, "-I", "-c", f"import sys; sys.path[:0] = {path}\n{code}"],
        env={"CHURN_DEPLOYMENT": "databricks", "DATABRICKS_RUNTIME_VERSION": "17.3", "HOME": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """The packages that travel as code, and nothing else of this environment."""
    for package in PACKAGES:
        (tmp_path / package).symlink_to(package_folder(package))
    return tmp_path


def test_steps_and_tasks_load_with_nothing_but_what_a_cluster_has(remote_python: Path, staged: Path) -> None:
    assert int(on_the_cluster(remote_python, LOAD, staged)) >= 9


def test_the_runtimes_own_spark_and_what_it_passes_data_through_win(remote_python: Path) -> None:
    found = json.loads(on_the_cluster(remote_python, REPORT))

    kept = pins(environment.KEPT.read_text()) | {"pyspark-client": environment.SPARK}
    assert {name: version for name, (version, _) in found.items()} == kept
    libraries = str(environment.cluster_libraries())
    assert [
        name for name, (_, path) in found.items() if any(part.startswith(libraries) for part in path)
    ] == []


def test_no_line_replaces_what_the_runtime_has_of_its_own() -> None:
    kept = set(pins(environment.KEPT.read_text()))
    spark = {"delta-spark", "py4j", "pysail", "pyspark", "pyspark-client", "databricks-connect"}

    assert len(kept) == 7
    # dagster-pyspark and dagster-databricks would pull pyspark in.
    assert not set(pins(cluster_requirements().content.decode())) & (
        kept | spark | {"dagster-pyspark", "dagster-databricks"}
    )


def test_both_sides_of_a_step_have_the_same_versions() -> None:
    here = pins(LOCK.read_text())
    there = pins(cluster_requirements().content.decode())

    assert {"dagster", "dagster-mlflow", "mlflow", "pydantic-settings", "scikit-learn"} <= set(there)
    other = {name: (version, here.get(name)) for name, version in there.items() if version != here.get(name)}
    # It follows the runtime's grpcio.
    assert set(other) <= {"grpcio-health-checking"}


def test_every_line_has_its_hashes() -> None:
    lines = cluster_requirements().content.decode().splitlines()
    pinned = [number for number, line in enumerate(lines) if "==" in line and not line.startswith((" ", "#"))]

    assert len(pinned) > 100
    assert [lines[number] for number in pinned if "--hash=sha256:" not in lines[number + 1]] == []
