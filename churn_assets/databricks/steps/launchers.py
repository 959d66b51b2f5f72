"""The launcher that the settings name."""

from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

import dagster as dg

from churn_assets.databricks.steps.launches import Launches
from churn_assets.settings import Settings


class Launcher(Protocol):
    """What Dagster's runs need of a launcher: there are one for step launchers and one for Pipes.

    Attributes:
        launches: what all launchers share.
    """

    launches: Launches

    def for_run(
        self, instance: dg.DagsterInstance | None, run_id: str | None
    ) -> AbstractContextManager[Self]:
        """Prepare for one Dagster run, and clean up after it."""
        ...


def launcher(settings: Settings, **options: Any) -> Launcher:
    """Return the launcher that ``CHURN_DATABRICKS_LAUNCHER`` names.

    Args:
        settings: workspace, credentials, staging, compute.
        options: those of ``Launches``.

    Raises:
        SettingsError: something that is needed is not set; nothing was asked of the workspace.
    """
    if settings.databricks_launcher == "pipes":
        from churn_assets.databricks.steps.pipes_launcher import ChurnPipesLauncher

        return ChurnPipesLauncher(settings, **options)
    # Only here: it brings more than a hundred modules, and Pipes needs none of them.
    from churn_assets.databricks.steps.launcher import ChurnStepLauncher

    return ChurnStepLauncher(settings, **options)
