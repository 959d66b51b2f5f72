"""The endpoint's name, headers, folders and token, for the server, its clients and the assets.

Every worker imports this module, so it imports nothing heavy.
"""

import os
import secrets
import stat
from pathlib import Path

from churn_assets.errors import SettingsError
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
    return settings.lake_root / "serving"


def online_folder(settings: Settings) -> Path:
    """Return the folder of the online store, which ``online_user_features`` publishes."""
    return state_folder(settings) / "online"


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_once(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"The endpoint's token {path} cannot be used: {error.strerror}. Set {variable}."
        ) from error
    if mode & 0o077:
        raise SettingsError(
            f"The endpoint's token {path} has mode {mode:o}, so others can read it; expected 600. "
            f"Delete it, and a new one is made, or: chmod 600 {path}"
        )
    if not token:
        raise SettingsError(f"The endpoint's token {path} is empty. Delete it, and a new one is made.")
    return token


def _write_once(path: Path) -> None:
    if path.exists():
        return
    # Written in full under another name, then linked if there is no token yet: two processes that start at
    # the same time end with the same token, and neither reads a part of it.
    draft = path.with_name(f".token-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
