"""Updates the served version: to the one asked for, and to the one that ``Production`` names.

It runs in its own process, so that workers never import MLflow. A version is downloaded and tried out before
it is published; if that fails, the old one stays, and the state holds the reason.
"""

import logging
import threading
import time
from pathlib import Path

import msgspec

from churn_assets.errors import ChurnError, one_line
from churn_assets.model.registry import registry
from churn_assets.serving import shared_store
from churn_assets.serving.published.publish import Describe, in_a_process, publish
from churn_assets.serving.published.state import Config, Endpoint, Entity, StateFolder
from churn_assets.settings import Settings

log = logging.getLogger(__name__)

# The longest time for which a promotion goes unnoticed, and the wait after a failure.
REGISTRY_POLL_SECONDS = 1.0
RETRY_SECONDS = 15.0
# How long what another machine published goes unnoticed; each look is a request that costs.
BUCKET_POLL_SECONDS = 15.0
UPDATE_POLL_SECONDS = 0.05


class Follower:
    """The only writer of the published state."""

    def __init__(
        self,
        settings: Settings,
        state: StateFolder,
        *,
        follows_production: bool = True,
        describe: Describe = in_a_process,
    ) -> None:
        self._settings = settings
        self._state = state
        self._follows_production = follows_production
        self._describe = describe
        self._next_poll = 0.0
        self._next_look = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; failures are logged and do not end it."""
        while not stop.is_set():
            try:
                self.step()
            except OSError as error:
                # Of the state's folder, as of a full disk; what was published before is served on.
                log.warning("%s cannot be written: %s", self._state.folder, error.strerror)
                stop.wait(RETRY_SECONDS)
            stop.wait(UPDATE_POLL_SECONDS)

    def step(self) -> None:
        """Put the pending update in place, and poll the registry when it is due."""
        if update := self._state.pending_update():
            self._put(update, "asked for")
            self._state.finish_update()
        elif self._state.is_update_damaged:
            self._fail("The update that was asked for cannot be read (wanted.json was damaged); ask again.")
            self._state.finish_update()
        if self._follows_production and time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + REGISTRY_POLL_SECONDS
            self._follow_production()
        if self._settings.is_in_bucket and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + BUCKET_POLL_SECONDS
            self._follow_published()

    def _follow_published(self) -> None:
        for what in (shared_store.ONLINE, shared_store.PAGE):
            try:
                shared_store.follow(self._settings, what)
            except Exception as error:  # noqa: BLE001 - what was there before is served, whatever the bucket's failure
                log.warning("%s: %s", what.name, one_line(error, with_class=True))

    def _follow_production(self) -> None:
        before = self._state.read()
        try:
            registered = registry.production_version(self._settings)
        except Exception as error:  # noqa: BLE001 - the old version is served, whatever the registry's failure
            self._note_registry(before, one_line(error, with_class=True))
            return
        self._note_registry(before, "")
        version = str(registered.version) if registered else ""
        if not version or version == before.followed:
            return
        name = registry.registered_model_name(self._settings)
        shadow = before.config.shadow if before.config else None
        if shadow and shadow.entity_version == version:
            shadow = None
        self._put(Config(Entity(name, version), shadow), "Production", followed=version)

    def _note_registry(self, before: Endpoint, error: str) -> None:
        if error != before.registry_error:
            log.warning("registry: %s", error or "answers again")
            self._state.publish(msgspec.structs.replace(before, registry_error=error))
        if error:
            self._next_poll = time.monotonic() + RETRY_SECONDS

    def _put(self, config: Config, reason: str, followed: str | None = None) -> None:
        """Publish a configuration, or the failure if one of its versions cannot be served."""
        before, now = self._state.read(), time.time_ns() // 1_000_000
        version = config.serving.entity_version
        try:
            for entity in config.entities:
                self._require_own_model(entity)
                publish(
                    self._settings,
                    self._state.model(entity.entity_version),
                    entity.entity_version,
                    self._describe,
                )
        except Exception as error:  # noqa: BLE001 - the same update would end every follower after this one
            message = str(error) if isinstance(error, ChurnError) else one_line(error, with_class=True)
            log.warning("version %s (%s) is refused: %s", version, reason, message)
            self._fail(message)
            self._next_poll = time.monotonic() + RETRY_SECONDS
            return
        log.info("serving version %s (%s)", version, reason)
        self._state.publish(
            Endpoint(
                config=config,
                config_version=before.config_version + 1,
                created_at=before.created_at or now,
                updated_at=now,
                followed=before.followed if followed is None else followed,
            )
        )

    def _fail(self, message: str) -> None:
        """Publish that an update failed; what was served before goes on."""
        now = time.time_ns() // 1_000_000
        before = self._state.read()
        self._state.publish(
            msgspec.structs.replace(before, update="UPDATE_FAILED", message=message, updated_at=now)
        )

    def _require_own_model(self, entity: Entity) -> None:
        name = registry.registered_model_name(self._settings)
        if entity.entity_name != name:
            raise ChurnError(f"This server serves {name} only, not {entity.entity_name}.")


def main(
    settings: Settings,
    folder: Path,
    stop: threading.Event,
    *,
    follows_production: bool = True,
    describe: Describe = in_a_process,
) -> None:
    """Run the follower in this process or thread until ``stop`` is set."""
    registry.configure(settings)
    follower = Follower(
        settings, StateFolder(folder), follows_production=follows_production, describe=describe
    )
    follower.run(stop)
