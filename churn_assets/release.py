"""Which release of the package this is."""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "churn-assets"


def release() -> str:
    """Return the installed version; 0.0.0 for a checkout that is on the path and was never installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0.0.0"
