"""The settings of the current command, read when it runs: importing what reads them takes 0.2 s."""

from functools import cache
from typing import TYPE_CHECKING

from churn_assets.console import err

if TYPE_CHECKING:
    from churn_assets.settings import Settings


def current_settings() -> "Settings":
    """Read the settings, and say on stderr what is set and is none.

    Raises:
        SettingsError: a value cannot be used; the message names the variable and what it may be.
    """
    from churn_assets import settings

    _say_once(tuple(settings.without_a_setting()))
    return settings.load()


@cache
def _say_once(lines: tuple[str, ...]) -> None:
    for line in lines:
        err.print(line, soft_wrap=True)
