"""What the bundled server says of itself, asked without leaving a trace or waiting for long."""

from dataclasses import dataclass

import requests

from churn_assets.serving.contract import ENDPOINT_NAME, state_folder
from churn_assets.settings import Settings

SECONDS = 2.0


@dataclass(frozen=True)
class EndpointStatus:
    """The endpoint: its address, whether it answers, what it serves, and what its last change came to.

    ``state`` is ``not running``, ``refused`` (the token is not the server's), or Databricks' word: ``READY``,
    ``NOT_READY``. ``update`` is Databricks' too: ``NOT_UPDATING``, ``IN_PROGRESS``, ``UPDATE_FAILED``.
    """

    url: str
    state: str
    version: str | None = None
    update: str | None = None


def look(settings: Settings) -> EndpointStatus:
    """Ask the server at ``CHURN_ENDPOINT_URL``."""
    url = settings.endpoint_url.rstrip("/")
    try:
        answer = requests.get(
            f"{url}/api/2.0/serving-endpoints/{ENDPOINT_NAME}",
            headers={"Authorization": f"Bearer {_token(settings)}"},
            timeout=SECONDS,
        )
    except requests.RequestException:
        return EndpointStatus(url, "not running")
    if answer.status_code in (401, 403):
        return EndpointStatus(url, "refused")
    try:
        found = answer.json()
        state, config = found["state"], found.get("config", {})
        served = config.get("served_entities") or [{}]
        return EndpointStatus(url, state["ready"], served[0].get("entity_version"), state["config_update"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return EndpointStatus(url, "not running")


def _token(settings: Settings) -> str:
    """The token, where there is one; looking makes none."""
    if settings.endpoint_token:
        return settings.endpoint_token
    try:
        return (state_folder(settings) / "token").read_text().strip()
    except OSError:
        return ""
