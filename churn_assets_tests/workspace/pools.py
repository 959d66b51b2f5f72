"""Instance pools: records that clusters refer to."""

import secrets
from typing import Any

from databricks.sdk.service.compute import InstancePoolsAPI

from churn_assets_tests.workspace.compute_types import NODE_TYPES
from churn_assets_tests.workspace.routing import Call, Route, Violation, not_found

API = "/api/2.0/instance-pools"


class Pools:
    """All instance pools. No machine is kept warm; a cluster of a pool starts as any other."""

    def __init__(self) -> None:
        self._all: dict[str, dict[str, Any]] = {}

    def get(self, pool_id: str) -> dict[str, Any]:
        """A pool by its id.

        Raises:
            ApiError: 404 if there is none.
        """
        if pool_id not in self._all:
            raise not_found("Instance pool", pool_id)
        return self._all[pool_id]

    def routes(self) -> list[Route]:
        """Instance Pools API 2.0."""
        return [
            Route("POST", f"{API}/create", self._create, InstancePoolsAPI.create),
            Route(
                "GET",
                f"{API}/get",
                lambda call: self.get(call.fields["instance_pool_id"]),
                InstancePoolsAPI.get,
            ),
            Route("GET", f"{API}/list", lambda _: {"instance_pools": list(self._all.values())}),
            Route("POST", f"{API}/delete", self._delete, InstancePoolsAPI.delete),
        ]

    def _create(self, call: Call) -> dict[str, Any]:
        if call.fields["node_type_id"] not in NODE_TYPES:
            raise Violation(f"Node type {call.fields['node_type_id']} is not supported.")
        pool_id = f"pool-{secrets.token_hex(8)}"
        self._all[pool_id] = {**call.fields, "instance_pool_id": pool_id, "state": "ACTIVE"}
        return {"instance_pool_id": pool_id}

    def _delete(self, call: Call) -> None:
        self.get(call.fields["instance_pool_id"])
        del self._all[call.fields["instance_pool_id"]]
