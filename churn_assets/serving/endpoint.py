"""The endpoint's name, headers, folders and token, for the server, its clients and the assets.

Every worker imports this module, so it imports nothing heavy.
"""

from pathlib import Path

from churn_assets.own_secrets import own_secret
from churn_assets.settings import Settings

ENDPOINT_NAME = "churn-prediction-endpoint"

# The version that answered, Databricks' name for it, the feature_date of the features that were looked up,
# and the number of rows that were scored without a history; the last two only where there were any.
VERSION_HEADER = "churn-model-version"
SERVED_NAME_HEADER = "served-model-name"
FEATURE_DATE_HEADER = "churn-feature-date"
WITHOUT_HISTORY_HEADER = "churn-without-history"


def state_folder(settings: Settings) -> Path:
    """Return the bundled server's folder: models, online features, configuration and token."""
    return settings.local_root / "serving"


def online_folder(settings: Settings) -> Path:
    """Return the folder of the online store, which ``online_user_features`` publishes."""
    return state_folder(settings) / "online"


def page_folder(settings: Settings) -> Path:
    """Return the folder of what the page shows, which is published after each list of whom to contact."""
    return state_folder(settings) / "page"


def endpoint_token(settings: Settings) -> str:
    """Return the bearer token for scoring: the setting, or one created once for this lake.

    Raises:
        SettingsError: the token's file is readable by others, is empty, or cannot be written.
    """
    return settings.endpoint_token or _own_token(state_folder(settings) / "token", "CHURN_ENDPOINT_TOKEN")


def endpoint_admin_token(settings: Settings) -> str:
    """Return the bearer token for managing and scoring: the setting, or one created once for this lake.

    Raises:
        SettingsError: the token's file is readable by others, is empty, or cannot be written.
    """
    return settings.endpoint_admin_token or _own_token(
        state_folder(settings) / "admin-token", "CHURN_ENDPOINT_ADMIN_TOKEN"
    )


def _own_token(path: Path, variable: str) -> str:
    return own_secret(path, "The endpoint's token", f"Set {variable}.")
