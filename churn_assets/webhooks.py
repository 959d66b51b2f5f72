"""A POST to somebody's webhook, whose URL is a secret: no message quotes it."""

from collections.abc import Mapping

import requests
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_fixed

TIMEOUT_SECONDS = 8
TOO_MANY_REQUESTS = 429
FIRST_REDIRECT = 300
FIRST_SERVER_ERROR = 500


def _is_temporary(error: BaseException) -> bool:
    if not isinstance(error, requests.RequestException):
        return False
    response = error.response
    if response is None:
        return isinstance(error, requests.ConnectionError | requests.Timeout)
    return response.status_code == TOO_MANY_REQUESTS or response.status_code >= FIRST_SERVER_ERROR


@retry(
    retry=retry_if_exception(_is_temporary),
    stop=stop_after_attempt(2),
    wait=wait_fixed(0.5),
    reraise=True,
)
def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float = TIMEOUT_SECONDS) -> None:
    """Post a body, once more where the receiver cannot be reached, is overloaded or fails.

    Raises:
        requests.RequestException: it was not taken. Its text quotes the URL: say ``failure`` instead.
    """
    # A redirected POST becomes a GET, which says 200 and has delivered nothing.
    response = requests.post(url, data=body, headers=dict(headers), timeout=timeout, allow_redirects=False)
    if response.status_code >= FIRST_REDIRECT:
        raise requests.HTTPError(response=response)


def failure(error: requests.RequestException) -> str:
    """Say in a few words why a POST was not taken, without the URL."""
    response = error.response
    return f"answered {response.status_code}" if response is not None else type(error).__name__
