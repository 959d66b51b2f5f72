"""Secret scopes, their secrets and access lists."""

import base64
from typing import Any

from databricks.sdk.service.workspace import SecretsAPI

from churn_assets_tests.workspace.cluster import now_ms
from churn_assets_tests.workspace.routing import ApiError, Call, Route, not_found

API = "/api/2.0/secrets"


class Secrets:
    """Scopes of secrets. Access lists are remembered, not enforced."""

    def __init__(self) -> None:
        self._scopes: dict[str, dict[str, bytes]] = {}
        self._times: dict[tuple[str, str], int] = {}
        self._acls: dict[str, dict[str, str]] = {}

    def text(self, scope: str, key: str) -> str:
        """A secret's value.

        Raises:
            ApiError: 404 if the scope or the key does not exist.
        """
        return self._secret(scope, key).decode()

    def routes(self) -> list[Route]:
        """Secrets API 2.0."""
        return [
            Route("POST", f"{API}/scopes/create", self._create_scope, SecretsAPI.create_scope),
            Route("GET", f"{API}/scopes/list", self._list_scopes),
            Route("POST", f"{API}/scopes/delete", self._delete_scope, SecretsAPI.delete_scope),
            Route("POST", f"{API}/put", self._put, SecretsAPI.put_secret),
            Route("GET", f"{API}/get", self._get, SecretsAPI.get_secret),
            Route("GET", f"{API}/list", self._list, SecretsAPI.list_secrets),
            Route("POST", f"{API}/delete", self._delete, SecretsAPI.delete_secret),
            Route("POST", f"{API}/acls/put", self._put_acl, SecretsAPI.put_acl),
            Route("GET", f"{API}/acls/get", self._get_acl, SecretsAPI.get_acl),
            Route("GET", f"{API}/acls/list", self._list_acls, SecretsAPI.list_acls),
            Route("POST", f"{API}/acls/delete", self._delete_acl, SecretsAPI.delete_acl),
        ]

    def _scope(self, name: str) -> dict[str, bytes]:
        if name not in self._scopes:
            raise not_found("Secret scope", name)
        return self._scopes[name]

    def _secret(self, scope: str, key: str) -> bytes:
        secrets = self._scope(scope)
        if key not in secrets:
            raise not_found("Secret", f"{scope}/{key}")
        return secrets[key]

    def _create_scope(self, call: Call) -> None:
        name = call.fields["scope"]
        if name in self._scopes:
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Scope {name} already exists!")
        self._scopes[name] = {}
        self._acls[name] = {call.user: "MANAGE"}
        if call.fields.get("initial_manage_principal"):
            self._acls[name][call.fields["initial_manage_principal"]] = "MANAGE"

    def _list_scopes(self, _: Call) -> dict[str, Any]:
        return {"scopes": [{"name": name, "backend_type": "DATABRICKS"} for name in self._scopes]}

    def _delete_scope(self, call: Call) -> None:
        self._scope(call.fields["scope"])
        del self._scopes[call.fields["scope"]]
        del self._acls[call.fields["scope"]]

    def _put(self, call: Call) -> None:
        secrets, key = self._scope(call.fields["scope"]), call.fields["key"]
        fields = [name for name in ("string_value", "bytes_value") if name in call.fields]
        if len(fields) != 1:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                f"One of string_value and bytes_value is needed, not {fields}.",
            )
        text = call.fields.get("string_value")
        secrets[key] = base64.b64decode(call.fields["bytes_value"]) if text is None else text.encode()
        self._times[call.fields["scope"], key] = now_ms()

    def _get(self, call: Call) -> dict[str, Any]:
        value = self._secret(call.fields["scope"], call.fields["key"])
        return {"key": call.fields["key"], "value": base64.b64encode(value).decode()}

    def _list(self, call: Call) -> dict[str, Any]:
        scope = call.fields["scope"]
        times = self._times
        return {
            "secrets": [
                {"key": key, "last_updated_timestamp": times[scope, key]} for key in self._scope(scope)
            ]
        }

    def _delete(self, call: Call) -> None:
        self._secret(call.fields["scope"], call.fields["key"])
        del self._scopes[call.fields["scope"]][call.fields["key"]]

    def _put_acl(self, call: Call) -> None:
        self._scope(call.fields["scope"])
        self._acls[call.fields["scope"]][call.fields["principal"]] = call.fields["permission"]

    def _acl(self, call: Call) -> str:
        self._scope(call.fields["scope"])
        permission = self._acls[call.fields["scope"]].get(call.fields["principal"])
        if permission is None:
            raise not_found("Secret ACL of", call.fields["principal"])
        return permission

    def _get_acl(self, call: Call) -> dict[str, Any]:
        return {"principal": call.fields["principal"], "permission": self._acl(call)}

    def _list_acls(self, call: Call) -> dict[str, Any]:
        self._scope(call.fields["scope"])
        acls = self._acls[call.fields["scope"]]
        return {"items": [{"principal": name, "permission": what} for name, what in acls.items()]}

    def _delete_acl(self, call: Call) -> None:
        self._acl(call)
        del self._acls[call.fields["scope"]][call.fields["principal"]]
