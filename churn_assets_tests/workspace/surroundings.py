"""What the runs of jobs need of the rest of the workspace."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from churn_assets_tests.workspace.auth import Auth
from churn_assets_tests.workspace.cluster import Cluster
from churn_assets_tests.workspace.clusters import Clusters
from churn_assets_tests.workspace.faults import Faults
from churn_assets_tests.workspace.processes import Runtime
from churn_assets_tests.workspace.secret_scopes import Secrets


@dataclass
class Surroundings:
    """The parts of a workspace that jobs and their tasks use.

    Attributes:
        folder: of the workspace.
        url: where the workspace listens; no trailing slash.
        auth: issues the tokens of tasks.
        faults: what goes wrong on demand.
        clusters: where tasks run.
        secrets: what ``spark_env_vars`` may refer to.
        python: the clusters' interpreter.
        runtime: what a process on a cluster, or on serverless compute (None), finds beside that interpreter's
            packages; called when one starts.
        real_path: gives the path on this machine of a path in the workspace.
        emails: what would have been sent: (event, address, run id).
        violations: what must fail the test.
    """

    folder: Path
    url: str
    auth: Auth
    faults: Faults
    clusters: Clusters
    secrets: Secrets
    python: Path
    runtime: Callable[[Cluster | None], Runtime]
    real_path: Callable[[str], Path]
    emails: list[tuple[str, str, int]]
    violations: list[str]
