"""The code that steps run, staged once for each of its versions: the program, the packages, what they need.

The program itself is a workspace file: the Jobs API takes a ``python_file`` from the workspace or from a
cloud's storage, and names no volumes. All else is in the volume, where no size is too large.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from databricks.sdk.errors import NotFound, PermissionDenied
from databricks.sdk.service.workspace import ImportFormat

from churn_assets.databricks.archive import Archive, archive
from churn_assets.databricks.compute.libraries import FILE, cluster_requirements
from churn_assets.databricks.staging import VolumeFolder
from churn_assets.databricks.steps import remote_main
from churn_assets.errors import WorkspaceError, one_line

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

PROGRAM = "churn_step.py"
REMOTE = Path(__file__).with_name("churn_remote")

Patiently = Callable[[Callable[[], Any]], Any]


class StagedCode:
    """Puts the code where steps find it, unless it is there.

    Args:
        workspace: the client.
        staging: the volume's folder for steps.
        packages: folders of what is staged as code, beside what runs it.
        patiently: asks the workspace again while it is failing.
    """

    def __init__(
        self, workspace: "WorkspaceClient", staging: VolumeFolder, packages: list[Path], patiently: Patiently
    ) -> None:
        self._workspace = workspace
        self._staging = staging
        self._packages = [*packages, REMOTE]
        self._patiently = patiently
        self._is_staged = False

    def stage(self) -> None:
        """Stage the code.

        Raises:
            WorkspaceError: volume or workspace refuse it.
        """
        if self._is_staged:
            return
        for path, content in (
            (self.packages, self._archive.content),
            (self.requirements, cluster_requirements().content),
        ):
            if not self._patiently(lambda path=path: self._staging.exists(path)):
                self._patiently(lambda path=path, content=content: self._staging.put(path, content))
        if not self._patiently(self._program_exists):
            self._patiently(self._put_program)
        self._is_staged = True

    @cached_property
    def program(self) -> str:
        """The workspace path of the program, in the home of whom the launcher is."""
        # Not /Workspace/Shared: what lies there everybody may change, and steps would run it as us.
        user = self._patiently(self._workspace.current_user.me).user_name
        digest = hashlib.sha256(self._program).hexdigest()[:16]
        return f"/Workspace/Users/{user}/.churn/steps/{digest}/{PROGRAM}"

    @cached_property
    def packages(self) -> str:
        """The path of the packages' archive in the volume."""
        return f"{self._staging.root}/code/{self._archive.digest}/code.zip"

    @property
    def requirements(self) -> str:
        """The path of the requirements file in the volume."""
        # One path for all steps, whatever their code: a shared cluster installs a library once.
        return f"{self._staging.root}/code/requirements-{cluster_requirements().digest}/{FILE}"

    @cached_property
    def _archive(self) -> Archive:
        return archive(self._packages)

    @cached_property
    def _program(self) -> bytes:
        return Path(remote_main.__file__).read_bytes()

    def _program_exists(self) -> bool:
        try:
            self._workspace.workspace.get_status(self.program)
        except NotFound:
            return False
        return True

    def _put_program(self) -> None:
        try:
            self._workspace.workspace.mkdirs(str(PurePosixPath(self.program).parent))
            # AUTO takes a Python file without a notebook's first line as a file.
            self._workspace.workspace.upload(
                self.program, self._program, format=ImportFormat.AUTO, overwrite=True
            )
        except (NotFound, PermissionDenied) as error:
            raise WorkspaceError(
                f"The workspace does not take {self.program}: {one_line(error)}. Steps are started from it: "
                "use a user or service principal with a home folder of its own."
            ) from error
