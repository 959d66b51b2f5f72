"""Who am I: the one SCIM route that clients ask."""

from typing import Any

from churn_assets_tests.workspace.auth import USER, Auth
from churn_assets_tests.workspace.routing import Call, Route


class Identity:
    """The user, or the service principal, behind a token."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    def routes(self) -> list[Route]:
        """SCIM's ``Me``."""
        return [Route("GET", "/api/2.0/preview/scim/v2/Me", self._me)]

    def _me(self, call: Call) -> dict[str, Any]:
        return {
            "id": "1001" if call.user == USER else "2002",
            "userName": call.user,
            "displayName": call.user,
            "active": True,
            "emails": [{"value": call.user, "primary": True}] if call.user == USER else [],
            "groups": [
                {"display": name, "value": str(3003 + place)}
                for place, name in enumerate(sorted(self._auth.principals(call.user) - {call.user}))
            ],
        }
