"""The emulated workspace: start it, talk to its ``url`` with the real client, ask it what happened."""

import json
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
from databricks.sdk import WorkspaceClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as AnyPath

from churn_assets_tests.workspace import dbfs
from churn_assets_tests.workspace.auth import USER, WORKSPACE_ID, Auth
from churn_assets_tests.workspace.billing import Billing
from churn_assets_tests.workspace.catalog import Catalog
from churn_assets_tests.workspace.clusters import Clusters
from churn_assets_tests.workspace.environment import cluster_libraries, runtime_python
from churn_assets_tests.workspace.faults import Faults, LostResponse, Refused, Slow, UnknownState
from churn_assets_tests.workspace.files import Files
from churn_assets_tests.workspace.identity import Identity
from churn_assets_tests.workspace.jobs import Jobs
from churn_assets_tests.workspace.mlflow import MlflowServer
from churn_assets_tests.workspace.online_stores import OnlineStores
from churn_assets_tests.workspace.permissions import Permissions
from churn_assets_tests.workspace.pools import Pools
from churn_assets_tests.workspace.processes import Runtime, bare_python
from churn_assets_tests.workspace.quality_monitors import QualityMonitors
from churn_assets_tests.workspace.registered_models import RegisteredModels
from churn_assets_tests.workspace.routing import Answer, ApiError, Call, Route, Violation, json_answer
from churn_assets_tests.workspace.runtime import Engine, ExistingVolumes
from churn_assets_tests.workspace.secret_scopes import Secrets
from churn_assets_tests.workspace.serving_endpoints import ServingEndpoints
from churn_assets_tests.workspace.statements import Statements
from churn_assets_tests.workspace.surroundings import Surroundings
from churn_assets_tests.workspace.workspace_files import WorkspaceFiles

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
# With every answer; it is how clients learn the workspace's id.
ORG_HEADER = {"x-databricks-org-id": WORKSPACE_ID}


class Logged(NamedTuple):
    """One request as it was answered; ``status`` is 0 if the answer was lost on purpose."""

    method: str
    path: str
    body: Any
    status: int


class Workspace:
    """A Databricks workspace whose state lives in a folder and in this object.

    Args:
        folder: an existing or new folder, for files of volumes and clusters.
        python: the interpreter of clusters; by default the bare one under this process' environment.
        with_spark: whether the clusters' processes find the emulated Databricks Runtime beside that
            interpreter's own packages. The engine starts with the first process.
        classic: folder of Apache Spark, where dedicated clusters have a classic session; Spark Connect's
            without it.

    Attributes:
        url: where it listens. No trailing slash.
        token: a personal access token.
        auth: all tokens, and the service principal's ``client_id`` and ``client_secret``.
        faults: what goes wrong on demand.
        requests: every request in the order of the answers.
        violations: requests that the real service would not have understood.
        emails: what would have been sent: (event, address, run id).
        surroundings: what jobs use of the parts; its ``python`` may be replaced before a task starts.
        files, workspace_files, secrets, pools, permissions, mlflow, clusters, jobs, serving, billing,
            monitors, models, online: the parts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        python: Path | None = None,
        with_spark: bool = False,
        classic: Path | None = None,
    ) -> None:
        # Imported here, because starting the server imports uvicorn's protocols.
        from churn_assets_tests.workspace.server import Server

        self._classic = classic
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        app = Starlette(routes=[AnyPath("/{path:path}", self._serve, methods=METHODS)])
        self._server = Server(app)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.auth = Auth(self.url)
        self.token = self.auth.token
        self.faults = Faults()
        self.requests: list[Logged] = []
        self.violations: list[str] = []
        self.emails: list[tuple[str, str, int]] = []
        self.files = Files(self.folder)
        self.workspace_files = WorkspaceFiles(self.folder)
        self.secrets = Secrets()
        self.pools = Pools()
        self.permissions = Permissions()
        self.mlflow = MlflowServer(self.folder)
        self.clusters = Clusters(self.folder, self.faults, self.pools)
        self.serving = ServingEndpoints()
        self.surroundings = Surroundings(
            folder=self.folder,
            url=self.url,
            auth=self.auth,
            faults=self.faults,
            clusters=self.clusters,
            secrets=self.secrets,
            python=python or bare_python(),
            runtime=lambda cluster: self.engine.runtime(cluster) if with_spark else Runtime(),
            real_path=self.local,
            emails=self.emails,
            violations=self.violations,
        )
        self.jobs = Jobs(self.surroundings)
        catalog = Catalog(self.folder)
        self.billing = Billing(self.folder, lambda: catalog.unity, self.auth)
        self.monitors = QualityMonitors(lambda: catalog.unity)
        self.online = OnlineStores(catalog)
        self.models = RegisteredModels(lambda: catalog.unity, self.auth)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        # Tasks that start at the same time ask for it from their own threads.
        self._engine_lock = threading.Lock()
        self.routes: list[Route] = [
            *self.auth.routes(),
            *self.files.routes(),
            *dbfs.routes(),
            *self.workspace_files.routes(),
            *self.secrets.routes(),
            *self.pools.routes(),
            *self.permissions.routes(),
            *Identity(self.auth).routes(),
            *self.models.routes(),
            *self.mlflow.routes(),
            *self.clusters.routes(),
            *self.jobs.routes(),
            *catalog.routes(),
            *Statements(self._execute, self.billing.refusal).routes(),
            *self.serving.routes(),
            *self.monitors.routes(),
            *self.online.routes(),
        ]

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine:
            self._engine.close()
        self.mlflow.close()
        self.jobs.close()
        self._server.stop()

    @property
    def engine(self) -> Engine:
        """The engine of the SQL warehouse and of the clusters' Spark, started at its first use.

        From then on files need volumes that exist.
        """
        with self._engine_lock:
            if self._engine is None:
                python = self.surroundings.python
                if python == runtime_python():
                    # It starts before a task names libraries; a cluster's workers have them in time.
                    self._engine = Engine(self.folder, python, cluster_libraries(), classic=self._classic)
                else:
                    # The bare interpreter that simple tasks run on has no Spark.
                    self._engine = Engine(self.folder, None if python == bare_python() else python)
                self.files.volumes = ExistingVolumes(self._engine.unity)
            return self._engine

    def _execute(self, sql: str) -> dict[str, Any]:
        return self.engine.execute(sql)

    def local(self, path: str) -> Path:
        """The real path of ``/Volumes/…``, ``dbfs:/Volumes/…``, ``/Workspace/…`` or ``/Users/…``.

        Raises:
            ApiError: there is no such volume, or the path is none of these.
        """
        if dbfs.in_root(path):
            raise dbfs.refusal(path)
        path = path.replace(dbfs.VOLUMES, "/Volumes/")
        if path.startswith("/Volumes/"):
            return self.files.local(path)
        return self.workspace_files.local(path)

    def client(self, **config: Any) -> WorkspaceClient:
        """The real client, with the personal access token unless ``config`` says otherwise."""
        options: dict[str, Any] = {"host": self.url, "token": self.token, "auth_type": "pat", **config}
        return WorkspaceClient(**options)

    def calls(self, method: str, path: str) -> list[Logged]:
        """The requests of this method whose path ends so."""
        return [
            request for request in self.requests if request.method == method and request.path.endswith(path)
        ]

    async def _serve(self, request: Request) -> Response:
        body = await request.body()
        answer = await anyio.to_thread.run_sync(self._answer, request, body)
        if answer is None:
            request.scope["extensions"]["break"]()
            await anyio.sleep(0.05)  # uvicorn has to notice before it would answer by itself
            return Response()
        return Response(answer.content, answer.status, {**answer.headers, **ORG_HEADER})

    def _answer(self, request: Request, body: bytes) -> Answer | None:
        """The answer, logged; None if it is to be lost."""
        method, path = request.method, request.scope["path"]
        fault = self.faults.take(method, path)
        if isinstance(fault, Slow):
            time.sleep(fault.seconds)
        try:
            if isinstance(fault, Refused):
                answer = fault.answer()
            else:
                answer = self._dispatch(method, path, request, body)
        except ApiError as error:
            answer = error.answer()
            if isinstance(error, Violation):
                self.violations.append(f"{method} {path}: {error.message}")
        except Exception as error:  # noqa: BLE001 - a bug of the emulator must fail the test, not hide in a 500
            self.violations.append(f"{method} {path}: the emulator failed with {error!r}")
            answer = ApiError(500, "INTERNAL_ERROR", repr(error)).answer()
        if isinstance(fault, UnknownState) and answer.status == 200:
            answer = fault.applied_to(answer)
        lost = isinstance(fault, LostResponse)
        with self._lock:
            self.requests.append(Logged(method, path, _readable(body), 0 if lost else answer.status))
        return None if lost else answer

    def _dispatch(self, method: str, path: str, request: Request, body: bytes) -> Answer:
        for route in self.routes:
            params = route.match(method, path)
            if params is not None:
                break
        else:
            raise Violation(f"No API found for '{method} {path}'.", 404, "ENDPOINT_NOT_FOUND")
        headers = {name.lower(): value for name, value in request.headers.items()}
        user = USER if route.public else self.auth.user(headers)
        query = request.query_params
        fields = {} if route.anything else route.check(params, path, query.multi_items(), body)
        answer = route.handler(Call(method, path, params, query, fields, body, headers, user))
        return answer if isinstance(answer, Answer) else json_answer(answer or {})


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body
