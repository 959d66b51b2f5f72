"""Models in Unity Catalog, as MLflow's ``databricks-uc`` registry sees them.

A version's files go through the Files API, below ``/Models/<catalog>/<schema>/<model>/<version>``, which is
one of the two ways of the real service; it says so where MLflow asks. Of lineage the tables that a version
was made of are kept, which MLflow sends in a header with the version, and only from a job or a notebook
(``rest_store.py``); the lineage of a model's readers is taken and forgotten. Deletions, other filters than a
model's name and deployment jobs are not emulated.

Who may do what, for all but ``USER``, who is the metastore's admin here:

* A model needs CREATE MODEL on its schema (docs.databricks.com/api, "create registered model").
* A version of a model that another made needs CREATE MODEL VERSION on model, schema or catalog (the
  privileges' reference, docs.databricks.com/data-governance/unity-catalog/access-control).
* "The caller must be a metastore admin or an owner of the registered model", to set an alias (the API's page
  of ``set-registered-model-alias``) and to change the owner.
* "To add tags […] you must own the object or have […] APPLY TAG" (…/database-objects/tags); "a maximum of 50
  tags to a single securable object", keys without ``. , - = / :``, values of at most 1000 characters (same).

USE CATALOG and USE SCHEMA, which all of these need as well, are not looked at.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from databricks.sdk.service.catalog import RegisteredModelsAPI

from churn_assets_tests.workspace.auth import USER, Auth
from churn_assets_tests.workspace.catalog import table_id
from churn_assets_tests.workspace.cluster import now_ms
from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation, not_found
from churn_assets_tests.workspace.runtime.emulated_databricks.unity import Unity

API = "/api/2.0/mlflow/unity-catalog"
MODEL = f"{API}/registered-models"
VERSION = f"{API}/model-versions"
ENABLED = f"{MODEL}:is-databricks-sdk-models-artifact-repository-enabled"
OWNED = "/api/2.1/unity-catalog/models"
LINEAGE_HEADER = "x-databricks-lineage-identifier"
MOST_TAGS, LONGEST_VALUE, NOT_IN_KEYS = 50, 1000, set(".,-=/:")
NAMED = {"name": str}
ONE = {"name": str, "version": str}
LINEAGE = {"model_version_lineage_info": dict[str, Any] | None, "securable": dict[str, Any] | None}
PAGED = {"max_results": int | None, "page_token": str | None}


class RegisteredModels:
    """Registered models, their versions and aliases, by three-level name.

    Args:
        unity: the metastore, for grants.
        auth: who is in which group.

    Attributes:
        tables_of: the names of the tables that a version (model, number) was made of.
    """

    def __init__(self, unity: Callable[[], Unity], auth: Auth) -> None:
        self._unity = unity
        self._auth = auth
        self._models: dict[str, dict[str, Any]] = {}
        self._versions: dict[str, dict[str, dict[str, Any]]] = {}
        self.tables_of: dict[tuple[str, str], list[str]] = {}
        self._lock = threading.RLock()

    def routes(self) -> list[Route]:
        """What MLflow's client calls to register a model and to find it again."""
        text = str | None
        tagged = {"tags": list[dict[str, Any]] | None, "description": text}
        version = {
            "name": str,
            "source": text,
            "run_id": text,
            "model_id": text,
            "run_tracking_server_id": text,
            "feature_deps": text,
            "model_version_dependencies": list[dict[str, Any]] | None,
        }
        return [
            Route("GET", ENABLED, lambda _: {"is_databricks_sdk_models_artifact_repository_enabled": True}),
            Route(
                "POST", f"{MODEL}/create", self._create, fields=NAMED | tagged | {"deployment_job_id": text}
            ),
            Route("GET", f"{MODEL}/get", lambda call: self._described(call.fields["name"]), fields=NAMED),
            Route("GET", f"{MODEL}/search", self._search, fields=PAGED),
            Route("POST", f"{MODEL}/alias", self._set_alias, fields=ONE | {"alias": str}),
            Route("GET", f"{MODEL}/alias", self._by_alias, fields=NAMED | {"alias": str}),
            Route("POST", f"{VERSION}/create", self._create_version, fields=version | tagged),
            Route("GET", f"{VERSION}/get", self._get_version, fields=ONE),
            Route("GET", f"{VERSION}/search", self._search_versions, fields=PAGED | {"filter": text}),
            Route("POST", f"{VERSION}/finalize", self._finalize, fields=ONE),
            Route("PATCH", f"{VERSION}/update", self._update_version, fields=ONE | {"description": text}),
            Route("POST", f"{VERSION}/emit-lineage", lambda _: None, fields=ONE | LINEAGE),
            Route("GET", f"{VERSION}/get-download-uri", self._download_uri, fields=ONE),
            Route("POST", f"{VERSION}/set-tag", self._set_tag, fields=ONE | {"key": str, "value": str}),
            # MLflow sends what it asks in a body, as no other DELETE here has one.
            Route("DELETE", f"{VERSION}/delete-tag", self._delete_tag, anything=True),
            Route("POST", OWNED, self._create_owned, RegisteredModelsAPI.create),
            Route("GET", f"{OWNED}/{{full_name}}", self._owned, RegisteredModelsAPI.get),
            Route("PATCH", f"{OWNED}/{{full_name}}", self._update_owned, RegisteredModelsAPI.update),
        ]

    def _require(self, call: Call, name: str, privilege: str, *, owner_may: bool = True) -> None:
        """Refuse whoever neither owns the model nor has the privilege; without one, only its owner may.

        Raises:
            ApiError: 403.
        """
        principals = self._auth.principals(call.user)
        owns = owner_may and self._models[name]["owner"] in principals
        schema = name.rpartition(".")[0]
        if call.user == USER or owns or (privilege and self._unity().allows(principals, privilege, schema)):
            return
        needs = f"does not have {privilege} on" if privilege else "is not an owner of"
        raise ApiError(403, "PERMISSION_DENIED", f"User {needs} Routine or Model '{name}'.")

    def _create_owned(self, call: Call) -> dict[str, Any]:
        name = ".".join(call.fields[part] for part in ("catalog_name", "schema_name", "name"))
        self._add(call, name, {"name": name})
        return self._owner_of(name)

    def _owned(self, call: Call) -> dict[str, Any]:
        return self._owner_of(call.params["full_name"])

    def _update_owned(self, call: Call) -> dict[str, Any]:
        name = call.params["full_name"]
        model = self._model(name)
        self._require(call, name, "")
        if unusual := call.fields.keys() - {"owner", "full_name"}:
            raise Violation(f"{sorted(unusual)} of a model are not emulated.")
        model["owner"] = call.fields["owner"]
        return self._owner_of(name)

    def _owner_of(self, name: str) -> dict[str, Any]:
        owner, parts = self._model(name)["owner"], ("catalog_name", "schema_name", "name")
        return {**dict(zip(parts, name.split("."), strict=True)), "full_name": name, "owner": owner}

    def _model(self, name: str) -> dict[str, Any]:
        if name not in self._models:
            raise not_found("Routine or Model", f"'{name}'")
        return self._models[name]

    def _version(self, name: str, version: str) -> dict[str, Any]:
        self._model(name)
        if version not in self._versions[name]:
            raise not_found("Model version", f"'{name}' version {version}")
        version_fields = self._versions[name][version]
        aliases = [alias for alias, number in self._models[name]["aliases"].items() if number == version]
        return version_fields | {"aliases": [{"alias": alias, "version": version} for alias in aliases]}

    def _described(self, name: str) -> dict[str, Any]:
        model = self._model(name)
        aliases = [{"alias": alias, "version": version} for alias, version in model["aliases"].items()]
        known = {key: value for key, value in model.items() if key != "owner"}
        return {"registered_model": known | {"aliases": aliases}}

    def _create(self, call: Call) -> dict[str, Any]:
        name = call.fields["name"]
        if name.count(".") != 2:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"'{name}' is not a three-level name.")
        self._add(call, name, call.fields)
        return self._described(name)

    def _add(self, call: Call, name: str, fields: Mapping[str, Any]) -> None:
        with self._lock:
            if name in self._models:
                raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Function or Model '{name}' already exists.")
            self._require(call, name, "CREATE MODEL", owner_may=False)
            times = {"creation_timestamp": now_ms(), "last_updated_timestamp": now_ms()}
            self._models[name] = {
                **fields,
                **times,
                "user_id": call.user,
                "owner": call.user,
                "aliases": {},
            }
            self._versions[name] = {}

    def _search(self, _: Call) -> dict[str, Any]:
        return {"registered_models": [self._described(name)["registered_model"] for name in self._models]}

    def _set_alias(self, call: Call) -> None:
        self._version(call.fields["name"], call.fields["version"])
        self._require(call, call.fields["name"], "")
        self._models[call.fields["name"]]["aliases"][call.fields["alias"]] = call.fields["version"]

    def _by_alias(self, call: Call) -> dict[str, Any]:
        name, alias = call.fields["name"], call.fields["alias"]
        version = self._model(name)["aliases"].get(alias)
        if version is None:
            raise not_found("Model version", f"alias '{alias}' of '{name}'")
        return {"model_version": self._version(name, version)}

    def _create_version(self, call: Call) -> dict[str, Any]:
        name = call.fields["name"]
        with self._lock:
            self._model(name)
            self._require(call, name, "CREATE MODEL VERSION")
            version = str(len(self._versions[name]) + 1)
            self._versions[name][version] = {
                **{key: value for key, value in call.fields.items() if key not in ("feature_deps", "tags")},
                "tags": call.fields.get("tags") or [],
                "version": version,
                "creation_timestamp": now_ms(),
                "last_updated_timestamp": now_ms(),
                "user_id": call.user,
                "status": "PENDING_REGISTRATION",
                "storage_location": f"s3://emulated/{name}/{version}",
            }
        self.tables_of[name, version] = list(_tables_read(call))
        return {"model_version": self._version(name, version)}

    def _get_version(self, call: Call) -> dict[str, Any]:
        return {"model_version": self._version(call.fields["name"], call.fields["version"])}

    def _search_versions(self, call: Call) -> dict[str, Any]:
        left, _, name = (call.fields.get("filter") or "").partition("=")
        if left.strip() != "name":
            raise Violation(f"Searching model versions by {call.fields.get('filter')!r} is not emulated.")
        name = name.strip().strip("'\"")
        return {
            "model_versions": [
                self._version(name, version) for version in reversed(self._versions.get(name, {}))
            ]
        }

    def _change(self, call: Call, **changes: Any) -> dict[str, Any]:
        self._version(call.fields["name"], call.fields["version"])
        stored = self._versions[call.fields["name"]][call.fields["version"]]
        stored |= {**changes, "last_updated_timestamp": now_ms()}
        return self._get_version(call)

    def _finalize(self, call: Call) -> dict[str, Any]:
        return self._change(call, status="READY")

    def _update_version(self, call: Call) -> dict[str, Any]:
        return self._change(call, description=call.fields.get("description") or "")

    def _download_uri(self, call: Call) -> dict[str, Any]:
        return {
            "artifact_uri": self._version(call.fields["name"], call.fields["version"])["storage_location"]
        }

    def _set_tag(self, call: Call) -> None:
        tags = self._version(call.fields["name"], call.fields["version"])["tags"]
        self._require(call, call.fields["name"], "APPLY TAG")
        key, value = call.fields["key"], call.fields["value"]
        kept = [tag for tag in tags if tag["key"] != key]
        if len(kept) >= MOST_TAGS or len(value) > LONGEST_VALUE or NOT_IN_KEYS & set(key):
            raise ApiError(
                400, "INVALID_PARAMETER_VALUE", f"{key}: at most {MOST_TAGS} tags, plain keys, short values."
            )
        self._change(call, tags=[*kept, {"key": key, "value": value}])

    def _delete_tag(self, call: Call) -> None:
        asked = json.loads(call.body)
        self._version(asked["name"], asked["version"])
        self._require(call, asked["name"], "APPLY TAG")
        stored = self._versions[asked["name"]][asked["version"]]
        stored["tags"] = [tag for tag in stored["tags"] if tag["key"] != asked["key"]]


def _tables_read(call: Call) -> Iterator[str]:
    """The tables that a new version's lineage names with the ids that they have."""
    header = call.headers.get(LINEAGE_HEADER)
    sent = json.loads(base64.b64decode(header)) if header else {}
    for lineage in sent.get("lineages", []):
        for source in lineage.get("source_securables", []):
            if source["table"]["table_id"] == table_id(source["table"]["name"]):
                yield source["table"]["name"]
