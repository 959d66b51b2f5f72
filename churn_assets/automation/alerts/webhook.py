"""Alerts as a POST that Slack's and Teams' incoming webhooks understand."""

import json

import requests

from churn_assets import webhooks
from churn_assets.automation.alerts.channel import DeliveryError


class Webhook:
    """Posts ``{"text": …}`` to a URL, which is a secret: it appears in no message."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, subject: str, body: str) -> None:
        """Post one alert.

        Raises:
            DeliveryError: it was refused, or not taken at the second attempt either.
        """
        payload = json.dumps({"text": f"*{subject}*\n{body}"}).encode()
        try:
            webhooks.post(self._url, payload, {"Content-Type": "application/json"})
        except requests.RequestException as error:
            what = webhooks.failure(error)
            # Neither the exception's text nor "from error": both would quote the URL.
            raise DeliveryError(f"The webhook took no alert ({what}). Check CHURN_ALERT_WEBHOOK.") from None
