"""Where alerts go."""

from typing import Protocol

from churn_assets.errors import ChurnError
from churn_assets.settings import Settings


class DeliveryError(ChurnError):
    """A channel did not take an alert now."""


class Channel(Protocol):
    """Takes one alert; its name is remembered for what it has not taken yet."""

    name: str

    def send(self, subject: str, body: str) -> None:
        """Send it.

        Raises:
            DeliveryError: it was not taken.
        """


def channels(settings: Settings) -> list[Channel]:
    """Every channel that the settings name; none means that alerts are off."""
    from churn_assets.automation.alerts.mail import Mail
    from churn_assets.automation.alerts.webhook import Webhook

    found: list[Channel] = []
    if settings.smtp_host and settings.alert_emails:
        found.append(Mail(settings))
    if settings.alert_webhook:
        found.append(Webhook(settings.alert_webhook))
    return found
