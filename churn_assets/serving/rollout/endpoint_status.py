"""The bundled server's own status, for ``churn status``: it changes nothing and takes two seconds at most."""

from dataclasses import dataclass

import requests

from churn_assets.serving.endpoint import state_folder
from churn_assets.serving.rollout.address import description
from churn_assets.settings import Settings


@dataclass(frozen=True)
class EndpointStatus:
    """The endpoint's address, state, served version and last update.

    ``state`` is ``not running``, ``refused`` (another lake's server: the token is not its own), ``another
    program`` (no scoring server), or Databricks' ``READY`` or ``NOT_READY``. ``update`` is Databricks'
    ``NOT_UPDATING``, ``IN_PROGRESS`` or ``UPDATE_FAILED``.
    """

    url: str
    state: str
    version: str | None = None
    update: str | None = None


def endpoint_status(settings: Settings) -> EndpointStatus:
    """Return the status of the server at ``CHURN_ENDPOINT_URL``."""
    url = settings.endpoint_url
    try:
        response = description(url, _token(settings))
    except requests.RequestException:
        return EndpointStatus(url, "not running")
    if response.status_code in (401, 403):
        return EndpointStatus(url, "refused")
    try:
        endpoint = response.json()
        state, config = endpoint["state"], endpoint.get("config", {})
        served = config.get("served_entities") or [{}]
        return EndpointStatus(url, state["ready"], served[0].get("entity_version"), state["config_update"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return EndpointStatus(url, "another program")


def _token(settings: Settings) -> str:
    """Return the token, or nothing if there is none: a status creates no file."""
    if settings.endpoint_token:
        return settings.endpoint_token
    try:
        return (state_folder(settings) / "token").read_text().strip()
    except OSError:
        return ""
