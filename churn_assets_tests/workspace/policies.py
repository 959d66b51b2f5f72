"""Cluster policies: what they fix, a cluster has to say."""

import json
from typing import Any

from databricks.sdk.service.compute import ClusterPoliciesAPI

from churn_assets_tests.workspace.routing import Call, Route, Violation, not_found


class Policies:
    """Policies of a workspace, of which ``fixed`` and ``forbidden`` values are enforced.

    Attributes:
        all: the definition of each by its id, as the Cluster Policies API has it: attribute -> rule.
    """

    def __init__(self) -> None:
        self.all: dict[str, dict[str, dict[str, Any]]] = {}

    def routes(self) -> list[Route]:
        """Cluster Policies API 2.0."""
        return [Route("GET", "/api/2.0/policies/clusters/get", self._get, ClusterPoliciesAPI.get)]

    def check(self, spec: dict[str, Any]) -> None:
        """Refuse a cluster that its policy does not allow.

        https://docs.databricks.com/aws/en/admin/clusters/policy-definition: ``fixed`` limits an attribute to
        a value, ``forbidden`` keeps it from being used.

        Raises:
            ApiError: 404, there is no such policy.
            Violation: an attribute is not what it fixes, or is forbidden.
        """
        if "policy_id" not in spec:
            return
        for path, rule in self._definition(spec["policy_id"]).items():
            value: Any = spec
            for name in path.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            wrong = value is not None if rule["type"] == "forbidden" else value != rule["value"]
            if rule["type"] in ("fixed", "forbidden") and wrong:
                raise Violation(f"Validation failed for {path}, {value!r} is not what the policy allows.")

    def _definition(self, policy_id: str) -> dict[str, dict[str, Any]]:
        if policy_id not in self.all:
            raise not_found("Cluster policy", policy_id)
        return self.all[policy_id]

    def _get(self, call: Call) -> dict[str, Any]:
        policy_id = call.fields["policy_id"]
        definition = json.dumps(self._definition(policy_id))
        return {"policy_id": policy_id, "name": f"policy {policy_id}", "definition": definition}
