"""Where a version's report lies. Apart from what makes one, which takes seconds to import."""

from pathlib import Path

from churn_assets.settings import Settings

FILE = "report.html"


def copy_in_the_lake(settings: Settings, version: str) -> Path | None:
    """The file beside the tables; None where the lake is no folder of this machine."""
    if settings.deployment == "databricks":
        return None
    return settings.lake_root / "reports" / f"model-{version}.html"


def where(settings: Settings, version: str, run_id: str | None) -> str:
    """The file if there is one, else the artifact in MLflow; empty of a version without a run."""
    copy = copy_in_the_lake(settings, version)
    if copy and copy.exists():
        return str(copy)
    return f"runs:/{run_id}/{FILE}" if run_id else ""
