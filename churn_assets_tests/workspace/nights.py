"""How a night's run of the job ended, and what it left."""

import pytest

from churn_assets.databricks.workflow.status import RunStatus
from churn_assets.model.registry import registry
from churn_assets.settings import Settings
from churn_assets_tests.workspace.emulator import Workspace


def finished(workspace: Workspace, run: RunStatus) -> RunStatus:
    """The run, if it succeeded; else what its tasks printed is the failure."""
    if run.has_failed:
        tasks = workspace.jobs.runs[run.run_id].tasks.values()
        pytest.fail(f"{run.reason}\n" + "\n".join(f"== {task.key}\n{task.logs[-4000:]}" for task in tasks))
    return run


def states(run: RunStatus) -> dict[str, str]:
    """How each task ended."""
    return {task.name: task.state for task in run.tasks}


def production(settings: Settings) -> str:
    """The version that the alias names."""
    version = registry.production_version(settings)
    return str(version.version) if version else "none"


def served(workspace: Workspace) -> str | None:
    """The version behind the endpoint."""
    endpoint = workspace.client().serving_endpoints.get("churn-prediction-endpoint")
    assert endpoint.config
    assert endpoint.config.served_entities
    return endpoint.config.served_entities[0].entity_version
