"""Who answers at CHURN_ENDPOINT_URL: this lake's server, another's, another program, or nobody."""

import socket
from urllib.parse import urlparse

import requests

from churn_assets.errors import EndpointError
from churn_assets.serving.endpoint import ENDPOINT_NAME, endpoint_admin_token
from churn_assets.settings import Settings

# For a server on this machine; a workspace has longer ones.
CONNECT_SECONDS = 2.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Beyond the port that is taken.
PORTS_TO_TRY = 100


def is_running(settings: Settings) -> bool:
    """Return whether this lake's scoring server answers at ``CHURN_ENDPOINT_URL``.

    Raises:
        EndpointError: a server of another lake, or another program, answers there.
        SettingsError: this lake's token cannot be used.
    """
    url = settings.endpoint_url
    try:
        answer = requests.get(f"{url}/ping", timeout=CONNECT_SECONDS)
    except requests.ConnectionError:
        return False
    except requests.RequestException as error:
        raise EndpointError(
            f"{url} does not answer within {CONNECT_SECONDS:.0f} s. Start churn serve again, "
            f"or set {_another_address(url)}."
        ) from error
    if answer.status_code not in (200, 503):
        raise EndpointError(
            f"{url}/ping answers {answer.status_code}, so it is no churn serve. "
            f"Set {_another_address(url)}, or stop that program."
        )
    _require_our_token(settings, url)
    return True


def description(url: str, token: str) -> requests.Response:
    """Ask a server for its description of the endpoint.

    Raises:
        requests.RequestException: nobody answers within two seconds, or not in HTTP.
    """
    return requests.get(
        f"{url}/api/2.0/serving-endpoints/{ENDPOINT_NAME}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=CONNECT_SECONDS,
    )


def require_ours(settings: Settings) -> None:
    """Require that what uses the endpoint's address is this lake's server, or nobody.

    For before a run, which would compute everything and then fail to deploy.

    Raises:
        EndpointError: as ``is_running``, or a program that speaks no HTTP listens there.
        SettingsError: this lake's token cannot be used.
    """
    url = settings.endpoint_url
    # Twice: a server that is being stopped listens and no longer answers.
    if not is_running(settings) and _listens(url) and not is_running(settings) and _listens(url):
        raise EndpointError(
            f"A program that is no churn serve listens at {url}. "
            f"Set {_another_address(url)}, or stop that program."
        )


def _require_our_token(settings: Settings, url: str) -> None:
    try:
        answer = description(url, endpoint_admin_token(settings))
    except requests.RequestException:
        # It answered a moment ago. What it does not do from now on, the deployment says.
        return
    if answer.status_code in (401, 403):
        raise EndpointError(
            f"Another lake's server answers at {url}: it does not take this lake's token. Set "
            f"{_another_address(url)}; if that server is meant, give its CHURN_ENDPOINT_ADMIN_TOKEN."
        )
    if answer.status_code == 404:
        raise EndpointError(
            f"{url} serves no {ENDPOINT_NAME}, so it is no churn serve. "
            f"Set {_another_address(url)}, or stop that program."
        )


def _another_address(url: str) -> str:
    port = _free_port_after(url)
    return f"CHURN_ENDPOINT_URL to {f'http://127.0.0.1:{port}, which is free' if port else 'a free port'}"


def _free_port_after(url: str) -> int | None:
    """Return the next free port of this machine; None where the address is that of another one."""
    host, port = _host_and_port(url)
    if host not in LOOPBACK:
        return None
    for candidate in range(port + 1, min(port + PORTS_TO_TRY, 65_536)):
        try:
            socket.create_server(("127.0.0.1", candidate)).close()
        except OSError:
            continue
        return candidate
    return None


def _listens(url: str) -> bool:
    try:
        socket.create_connection(_host_and_port(url), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _host_and_port(url: str) -> tuple[str, int]:
    parsed = urlparse(url)
    try:
        port = parsed.port
    except ValueError:
        port = None
    return parsed.hostname or "", port or (443 if parsed.scheme == "https" else 80)
