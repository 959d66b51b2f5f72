"""The settings of the current command, read when it runs: importing what reads them takes 0.2 s."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from churn_assets.settings import Settings


def current_settings() -> "Settings":
    """Read the settings.

    Raises:
        SettingsError: a value cannot be used; the message names the variable and what it may be.
    """
    from churn_assets import settings

    return settings.load()
