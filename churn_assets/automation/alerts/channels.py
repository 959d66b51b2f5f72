"""The alert channels that the settings name."""

from churn_assets.automation.alerts.channel import Channel
from churn_assets.automation.alerts.mail import Mail
from churn_assets.automation.alerts.webhook import Webhook
from churn_assets.settings import Settings


def channels(settings: Settings) -> list[Channel]:
    """Return every channel that the settings name; without one, alerts are off."""
    named: list[Channel] = []
    if settings.smtp_host and settings.alert_emails:
        named.append(Mail(settings))
    if settings.alert_webhook:
        named.append(Webhook(settings.alert_webhook))
    return named
