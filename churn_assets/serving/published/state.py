"""What the bundled server serves, in two small files: what was asked for, and what is.

Any worker may be asked for another configuration: it writes ``wanted.json``, if there is none. Only the
follower (see ``follower.py``) answers, by replacing ``endpoint.json`` and removing the other. Workers look at
the latter before each answer, so that a version which is said to be ready answers every later request.
"""

import logging
import os
import time
from pathlib import Path
from typing import Literal

import msgspec

log = logging.getLogger(__name__)

Update = Literal["NOT_UPDATING", "UPDATE_FAILED"]


class Entity(msgspec.Struct, frozen=True):
    """One model version, as Databricks describes a served entity."""

    entity_name: str
    entity_version: str
    name: str = ""
    workload_size: str = "Small"
    scale_to_zero_enabled: bool = True

    @property
    def served_name(self) -> str:
        """The name under which Databricks serves it where none was given: model and version."""
        return self.name or f"{self.entity_name.rpartition('.')[2]}-{self.entity_version}"


class Config(msgspec.Struct, frozen=True):
    """Who answers, and who only scores the same requests in the shadow."""

    serving: Entity
    shadow: Entity | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """The published state. Times are milliseconds since 1970, as Databricks gives them."""

    config: Config | None = None
    previous: Config | None = None
    config_version: int = 0
    created_at: int = 0
    updated_at: int = 0
    # What Production named when the follower last looked; what was asked for stays until that moves.
    followed: str = ""
    update: Update = "NOT_UPDATING"
    message: str = ""
    registry_error: str = ""


def _decoded(content: bytes) -> Endpoint:
    try:
        return msgspec.json.decode(content, type=Endpoint)
    except msgspec.DecodeError:
        # Damaged, as by a power cut: as if nothing had been published. The follower publishes Production.
        log.warning("endpoint.json cannot be read and is made anew")
        return Endpoint()


class StateFolder:
    """The server's folder: ``endpoint.json``, ``wanted.json`` and the models by version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = str(folder / "endpoint.json")
        self._wanted = folder / "wanted.json"
        self._seen: tuple[int, int] | None = None
        self._endpoint = Endpoint()

    def model(self, version: str) -> Path:
        """Where a version's estimator lies once it has been published."""
        return self.folder / "models" / version

    @property
    def activity(self) -> Path:
        """The file whose time of change is that of the endpoint's last request, to a second or so."""
        return self.folder / "active"

    def read(self) -> Endpoint:
        """The published state; one look at the file's times where it has not changed."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a third of Path.stat's time, before every answer
        except FileNotFoundError:
            return Endpoint()
        # A replaced file has another inode, even within one tick of the clock.
        seen = (found.st_ino, found.st_mtime_ns)
        if seen != self._seen:
            self._endpoint = _decoded(Path(self._path).read_bytes())
            self._seen = seen
        return self._endpoint

    def publish(self, endpoint: Endpoint) -> None:
        """Replace the published state, atomically. Only the follower calls it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".endpoint-{os.getpid()}.json"
        draft.write_bytes(msgspec.json.encode(endpoint))
        draft.replace(self._path)

    def ask(self, config: Config) -> bool:
        """Ask for a configuration; False where another one is still being put in place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".wanted-{os.getpid()}-{time.monotonic_ns()}.json"
        draft.write_bytes(msgspec.json.encode(config))
        try:
            os.link(draft, self._wanted)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def wanted(self) -> Config | None:
        """The configuration that is being put in place, if there is one."""
        try:
            return msgspec.json.decode(self._wanted.read_bytes(), type=Config)
        except FileNotFoundError:
            return None

    def answered(self) -> None:
        """Whatever was wanted is published now, or has been refused."""
        self._wanted.unlink(missing_ok=True)
