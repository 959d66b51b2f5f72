"""Alerts as a POST that Slack's and Teams' incoming webhooks understand."""

import requests
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_fixed

from churn_assets.automation.alerts.channel import DeliveryError

TIMEOUT_SECONDS = 8
TOO_MANY_REQUESTS = 429
FIRST_SERVER_ERROR = 500


def _is_temporary(error: BaseException) -> bool:
    if not isinstance(error, requests.RequestException):
        return False
    response = error.response
    if response is None:
        return isinstance(error, requests.ConnectionError | requests.Timeout)
    return response.status_code == TOO_MANY_REQUESTS or response.status_code >= FIRST_SERVER_ERROR


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
        try:
            self._post({"text": f"*{subject}*\n{body}"})
        except requests.RequestException as error:
            response = error.response
            what = f"answered {response.status_code}" if response is not None else f"{type(error).__name__}"
            # Neither the exception's text nor "from error": both would quote the URL.
            raise DeliveryError(f"The webhook took no alert ({what}). Check CHURN_ALERT_WEBHOOK.") from None

    @retry(
        retry=retry_if_exception(_is_temporary),
        stop=stop_after_attempt(2),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    def _post(self, payload: dict[str, str]) -> None:
        requests.post(self._url, json=payload, timeout=TIMEOUT_SECONDS).raise_for_status()
