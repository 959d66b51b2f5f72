"""Moves what is served: to what was asked for, and to the version that ``Production`` names.

One process of the server runs it, so that workers never import MLflow. A version is fetched and tried out
before it is published; if that fails, the old one goes on serving, and the state says why.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from churn_assets.errors import ChurnError, one_line
from churn_assets.model.registry import registry
from churn_assets.serving.published.publish import Describe, in_a_process, publish
from churn_assets.serving.published.state import Config, Endpoint, Entity, StateFolder
from churn_assets.settings import Settings

log = logging.getLogger(__name__)

# How long a promotion may go unnoticed, and for how long a registry that fails is left alone.
LOOK_EVERY_SECONDS = 1.0
TRY_AGAIN_AFTER_SECONDS = 15.0
ANSWER_EVERY_SECONDS = 0.05


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
        self._follows = follows_production
        self._describe = describe
        self._next_look = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; nothing that fails ends it."""
        while not stop.is_set():
            self.step()
            stop.wait(ANSWER_EVERY_SECONDS)

    def step(self) -> None:
        """Put in place what was asked for, and look at the registry when it is time."""
        if wanted := self._state.wanted():
            self._put(wanted, "asked for")
            self._state.answered()
        if self._follows and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY_SECONDS
            self._follow_production()

    def _follow_production(self) -> None:
        before = self._state.read()
        try:
            registered = registry.production_version(self._settings)
        except Exception as error:  # noqa: BLE001 - whatever ails the registry, the old version goes on serving
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
            self._next_look = time.monotonic() + TRY_AGAIN_AFTER_SECONDS

    def _put(self, wanted: Config, why: str, followed: str | None = None) -> None:
        before, now = self._state.read(), time.time_ns() // 1_000_000
        entities = [entity for entity in (wanted.serving, wanted.shadow) if entity]
        try:
            for entity in entities:
                self._require_ours(entity)
                publish(
                    self._settings,
                    self._state.model(entity.entity_version),
                    entity.entity_version,
                    self._describe,
                )
        except Exception as error:  # noqa: BLE001 - or the same wish would end the follower again and again
            reason = str(error) if isinstance(error, ChurnError) else one_line(error, with_class=True)
            log.warning("version %s (%s) is refused: %s", wanted.serving.entity_version, why, reason)
            failed = msgspec.structs.replace(before, update="UPDATE_FAILED", message=reason, updated_at=now)
            self._state.publish(failed)
            self._next_look = time.monotonic() + TRY_AGAIN_AFTER_SECONDS
            return
        log.info("serving version %s (%s)", wanted.serving.entity_version, why)
        replaced = before.config and before.config != wanted
        self._state.publish(
            Endpoint(
                config=wanted,
                previous=before.config if replaced else before.previous,
                config_version=before.config_version + 1,
                created_at=before.created_at or now,
                updated_at=now,
                followed=before.followed if followed is None else followed,
            )
        )

    def _require_ours(self, entity: Entity) -> None:
        name = registry.registered_model_name(self._settings)
        if entity.entity_name != name:
            raise ChurnError(f"This server serves {name} only, not {entity.entity_name}.")


def main(settings: Settings, folder: Path, stop: threading.Event, **options: Any) -> None:
    """The follower's process or thread."""
    registry.configure(settings)
    Follower(settings, StateFolder(folder), **options).run(stop)
