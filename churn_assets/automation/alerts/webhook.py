"""Alerts as a POST that Slack's and Teams' incoming webhooks understand."""

import requests
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_fixed

from churn_assets.automation.alerts.channels import DeliveryError

TIMEOUT_SECONDS = 8
TOO_MANY_REQUESTS = 429
FIRST_SERVER_ERROR = 500


def _may_pass(error: BaseException) -> bool:
    if not isinstance(error, requests.RequestException):
        return False
    answer = error.response
    if answer is None:
        return isinstance(error, requests.ConnectionError | requests.Timeout)
    return answer.status_code == TOO_MANY_REQUESTS or answer.status_code >= FIRST_SERVER_ERROR


class Webhook:
    """Posts ``{"text": …}`` to a URL, which is a secret: it appears in no message."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, subject: str, body: str) -> None:
        """Post one alert.

        Raises:
            DeliveryError: it was refused, or was not taken, also the second time.
        """
        try:
            self._post({"text": f"*{subject}*\n{body}"})
        except requests.RequestException as error:
            answer = error.response
            what = f"answered {answer.status_code}" if answer is not None else f"{type(error).__name__}"
            # Not what the exception says: it quotes the URL. Nor "from error", for the same reason.
            raise DeliveryError(f"The webhook took no alert ({what}). Check CHURN_ALERT_WEBHOOK.") from None

    @retry(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(2),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    def _post(self, payload: dict[str, str]) -> None:
        requests.post(self._url, json=payload, timeout=TIMEOUT_SECONDS).raise_for_status()
