"""What every alert channel implements, and the error that it raises."""

from typing import Protocol

from churn_assets.errors import ChurnError


class DeliveryError(ChurnError):
    """A channel did not take an alert now."""


class Channel(Protocol):
    """Delivers one alert at a time; undelivered alerts are kept under its name."""

    name: str

    def send(self, subject: str, body: str) -> None:
        """Send one alert.

        Raises:
            DeliveryError: it was not taken.
        """
