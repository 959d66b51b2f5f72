"""Who asks: personal access tokens, and OAuth client credentials of a service principal."""

import base64
import secrets
import threading
import time
import urllib.parse
from collections.abc import Mapping

from churn_assets_tests.workspace.routing import Answer, ApiError, Call, Route, json_answer

USER = "engineer@example.com"
WORKSPACE_ID = "1234567890123456"
TOKEN_SECONDS = 3600
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class Auth:
    """The workspace's tokens.

    Attributes:
        token: a personal access token of ``USER``.
        client_id: of the service principal; with ``client_secret`` it gets tokens that last an hour.
        federated_token: of another issuer, such as a CI's, that a policy of the service principal trusts.
        groups: of each user or service principal, besides ``users``, in which all are.
        issued: how many OAuth tokens were given out.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, float | None]] = {}
        self._expired: set[str] = set()
        self.client_id = "7f3c1d0a-5b1e-4f3d-9a35-0c7c3a1f2b11"
        self.client_secret = f"dose{secrets.token_hex(16)}"
        self.federated_token = f"jwt.{secrets.token_hex(16)}"
        self.groups: dict[str, set[str]] = {}
        self.issued = 0
        self.token = self.issue(USER, prefix="dapi")

    def issue(self, user: str, prefix: str = "", seconds: float | None = None) -> str:
        """A new token for a user, good for so many seconds or for ever."""
        token = f"{prefix}{secrets.token_hex(16)}"
        with self._lock:
            self._tokens[token] = (user, None if seconds is None else time.monotonic() + seconds)
        return token

    def exists(self, name: str) -> bool:
        """Whether somebody is a user of the workspace, or its service principal."""
        return name in {USER, self.client_id, *self.groups}

    def principals(self, user: str) -> set[str]:
        """Under which names somebody has rights."""
        return {user, "users", *self.groups.get(user, ())}

    def expire(self, token: str | None = None) -> None:
        """Let a token expire, or all that were given out so far. New ones can be had as before."""
        with self._lock:
            self._expired |= set(self._tokens) if token is None else {token}

    def user(self, headers: Mapping[str, str]) -> str:
        """Who asks.

        Raises:
            ApiError: 401 without a token or with an expired one, 403 with one that was never valid.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise ApiError(
                401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API."
            )
        with self._lock:
            user, until = self._tokens.get(token, ("", None))
            late = until is not None and time.monotonic() > until
            if token in self._expired or late:
                raise ApiError(401, "UNAUTHENTICATED", "Access token expired.")
        if not user:
            raise ApiError(403, "PERMISSION_DENIED", "Invalid access token.")
        return user

    def routes(self) -> list[Route]:
        """OAuth's discovery documents and its token endpoint."""
        return [
            Route("GET", "/oidc/.well-known/oauth-authorization-server", self._discover, public=True),
            Route("GET", "/oidc/.well-known/openid-configuration", self._discover, public=True),
            Route("POST", "/oidc/v1/token", self._give_token, anything=True, public=True),
        ]

    def _discover(self, _: Call) -> dict[str, object]:
        return {
            "issuer": f"{self._url}/oidc",
            "authorization_endpoint": f"{self._url}/oidc/v1/authorize",
            "token_endpoint": f"{self._url}/oidc/v1/token",
            "grant_types_supported": ["client_credentials", EXCHANGE],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def _give_token(self, call: Call) -> dict[str, object] | Answer:
        form = dict(urllib.parse.parse_qsl(call.body.decode()))
        scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
        credentials = (form.get("client_id", ""), form.get("client_secret", ""))
        if scheme == "Basic":
            client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
            credentials = (client_id, secret)
        if form.get("grant_type") == EXCHANGE:
            # RFC 8693, as the SDK's oidc.py asks: no secret, and the subject token says who it is.
            if (form.get("subject_token"), credentials[0]) != (self.federated_token, self.client_id):
                return _oauth_error(400, "invalid_request", "No federation policy matches the token.")
        elif form.get("grant_type") != "client_credentials" or form.get("scope") != "all-apis":
            return _oauth_error(
                400, "invalid_request", f"Unsupported grant {form.get('grant_type')!r} or scope."
            )
        elif credentials != (self.client_id, self.client_secret):
            return _oauth_error(401, "invalid_client", "Client authentication failed.")
        self.issued += 1
        token = self.issue(self.client_id, prefix="eyJ", seconds=TOKEN_SECONDS)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": "all-apis",
        }


def _oauth_error(status: int, code: str, why: str) -> Answer:
    """An error in OAuth's shape, not the workspace's."""
    return json_answer({"error": code, "error_description": why}, status)
