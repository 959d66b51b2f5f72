"""The state of the bundled server, in two small files: the published one and the pending update.

Any worker may receive another configuration: it writes ``wanted.json``, unless there is one. Only the
follower (see ``follower.py``) acts on it: it replaces ``endpoint.json`` and removes ``wanted.json``. Workers
check ``endpoint.json`` before each answer, so a version reported as ready answers every later request.
"""

import logging
import os
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec

log = logging.getLogger(__name__)

Update = Literal["NOT_UPDATING", "UPDATE_FAILED"]

VERSION_NUMBER = "[1-9][0-9]{0,17}"


class Entity(msgspec.Struct, frozen=True):
    """One model version, as Databricks describes a served entity; its other fields are ignored."""

    entity_name: str
    # In the OpenAPI document only: msgspec's own message would quote the pattern and no reason.
    entity_version: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{VERSION_NUMBER}$"})]
    name: str = ""
    workload_size: str = "Small"
    scale_to_zero_enabled: bool = True

    @property
    def served_name(self) -> str:
        """The name under which Databricks serves it: by default model and version."""
        return self.name or f"{self.entity_name.rpartition('.')[2]}-{self.entity_version}"


class Config(msgspec.Struct, frozen=True):
    """The version that answers, and the shadow, if any, that only scores the same requests."""

    serving: Entity
    shadow: Entity | None = None

    @property
    def entities(self) -> list[Entity]:
        """One or two versions, the one that answers first."""
        return [self.serving, self.shadow] if self.shadow else [self.serving]


class Endpoint(msgspec.Struct, frozen=True):
    """The published state; times are milliseconds since 1970, as in Databricks' API."""

    config: Config | None = None
    config_version: int = 0
    created_at: int = 0
    updated_at: int = 0
    # The Production version that the follower saw last. A version served by hand stays until it changes.
    followed: str = ""
    update: Update = "NOT_UPDATING"
    message: str = ""
    registry_error: str = ""


def _decode(content: bytes) -> Endpoint:
    try:
        return msgspec.json.decode(content, type=Endpoint)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Damaged, as by a power cut: as if nothing were published. The follower publishes Production again.
        log.warning("endpoint.json cannot be read and is made anew")
        return Endpoint()


class StateFolder:
    """The server's folder: ``endpoint.json``, ``wanted.json`` and the models by version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = str(folder / "endpoint.json")
        self._pending = folder / "wanted.json"
        self._cached_file: tuple[int, int] | None = None
        self._endpoint = Endpoint()

    def model(self, version: str) -> Path:
        """Return the folder of a version's estimator, once it is published."""
        return self.folder / "models" / version

    @property
    def activity(self) -> Path:
        """The file whose modification time is that of the endpoint's last request, to a second or so."""
        return self.folder / "active"

    def read(self) -> Endpoint:
        """Return the published state. This costs one ``stat`` if the file has not changed."""
        try:
            file_status = os.stat(self._path)  # noqa: PTH116 - a third of Path.stat's time, before every answer
        except FileNotFoundError:
            return Endpoint()
        # A replaced file has another inode, even within one tick of the clock.
        file = (file_status.st_ino, file_status.st_mtime_ns)
        if file != self._cached_file:
            self._endpoint = _decode(Path(self._path).read_bytes())
            self._cached_file = file
        return self._endpoint

    def publish(self, endpoint: Endpoint) -> None:
        """Replace the published state, atomically. Only the follower calls it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".endpoint-{os.getpid()}.json"
        try:
            draft.write_bytes(msgspec.json.encode(endpoint))
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)

    def request_update(self, config: Config) -> bool:
        """Ask for another configuration; return False while an earlier update is pending."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".wanted-{os.getpid()}-{time.monotonic_ns()}.json"
        try:
            draft.write_bytes(msgspec.json.encode(config))
            os.link(draft, self._pending)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def pending_update(self) -> Config | None:
        """Return the configuration that was asked for, until it is published or refused.

        None also for a damaged one, which the follower removes.
        """
        try:
            return msgspec.json.decode(self._pending.read_bytes(), type=Config)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    @property
    def is_update_damaged(self) -> bool:
        """Whether an update was asked for that nobody can read, as after a power cut."""
        return self.pending_update() is None and self._pending.exists()

    def finish_update(self) -> None:
        """End the pending update, after it was published or refused."""
        self._pending.unlink(missing_ok=True)
