"""The location of a version's report. Apart from what renders one, which takes seconds to import."""

from pathlib import Path

from churn_assets.settings import Settings

FILE = "report.html"


def lake_copy(settings: Settings, version: str) -> Path | None:
    """Return the file beside the tables; None where the lake is no folder of this machine."""
    if settings.deployment == "databricks":
        return None
    return settings.lake_root / "reports" / f"model-{version}.html"


def report_location(settings: Settings, version: str, run_id: str | None) -> str:
    """Return the file where there is one, else the URI of the artifact in MLflow; empty without a run."""
    copy = lake_copy(settings, version)
    if copy and copy.exists():
        return str(copy)
    return f"runs:/{run_id}/{FILE}" if run_id else ""
