"""The model in one worker: loaded on demand, replaced when another version is published, freed when idle."""

import asyncio
import gc
import time
from pathlib import Path

from churn_assets.serving.published.state import Entity, StateFolder
from churn_assets.serving.scoring.replies import UnavailableError
from churn_assets.serving.scoring.scorer import ServedModel, load
from churn_assets.serving.server.metrics import Metrics


class ModelHost:
    """The holder of the published version and its shadow."""

    def __init__(self, state: StateFolder, metrics: Metrics, *, owns_process: bool) -> None:
        self._state = state
        self._metrics = metrics
        self._owns_process = owns_process
        self._serving: ServedModel | None = None
        self._shadow: ServedModel | None = None
        self._loading = asyncio.Lock()
        self._config_version = -1
        self._served_name = ""
        self._used = False

    @property
    def is_loaded(self) -> bool:
        """Whether a model is in memory."""
        return self._serving is not None

    def loaded_model(self) -> ServedModel | None:
        """Return the published version if it is in memory. Nearly every request takes this fast path."""
        self._used = True
        return self._in_memory()

    def _in_memory(self) -> ServedModel | None:
        if self._state.read().config_version == self._config_version:
            return self._serving
        return None

    @property
    def shadow(self) -> ServedModel | None:
        """The version, if any, that scores the same requests without answering them."""
        return self._shadow

    @property
    def served_name(self) -> str:
        """Databricks' name for the version that answers."""
        return self._served_name

    async def load_published(self, *, in_use: bool = True) -> ServedModel:
        """Return the published version, loaded first if it is not in memory.

        Args:
            in_use: whether it is for a request, which keeps the endpoint from being idle.

        Raises:
            UnavailableError: no version is published, or it cannot be loaded.
        """
        self._used |= in_use
        if model := self._in_memory():
            return model
        async with self._loading:
            if model := self._in_memory():
                return model
            endpoint = self._state.read()
            if endpoint.config is None:
                reason = f" ({endpoint.message})" if endpoint.message else ""
                raise UnavailableError(
                    f"No model is served yet{reason}. Materialise churn_prediction_model, or: churn run"
                )
            serving = await self._load(endpoint.config.serving)
            self._shadow = await self._load_shadow(endpoint.config.shadow)
            self._serving, self._config_version = serving, endpoint.config_version
            self._served_name = endpoint.config.serving.served_name
            self._metrics.set_version(serving.version)
            return serving

    async def _load_shadow(self, entity: Entity | None) -> ServedModel | None:
        try:
            return await self._load(entity) if entity else None
        except UnavailableError:
            self._metrics.count_shadow_failure()
            return None

    async def _load(self, entity: Entity) -> ServedModel:
        version = entity.entity_version
        for model in (self._serving, self._shadow):
            if model and model.version == version:
                return model
        started = time.perf_counter()
        folder = self._state.model(version)
        try:
            # In a thread: the event loop answers other routes meanwhile. Scoring requests wait for the new
            # version, because every answer after a publication is the published version's.
            model = await asyncio.to_thread(load, folder, version)
        except Exception as error:
            raise UnavailableError(f"Version {version} cannot be loaded: {type(error).__name__}.") from error
        self._metrics.record_load(time.perf_counter() - started)
        if self._owns_process:
            # Libraries leave a million permanent objects, and collecting over them would pause answers.
            gc.collect()
            gc.freeze()
        return model

    def note_activity(self) -> None:
        """Tell all workers that the endpoint is in use, if this one had a request since the last call."""
        if self._used:
            self._used = False
            self._state.activity.touch()

    def idle_seconds(self) -> float:
        """Return the time since any worker's last request, to a second or so; 0 before the first one."""
        return _age(self._state.activity)


def _age(file: Path) -> float:
    try:
        return max(0.0, time.time() - file.stat().st_mtime)
    except FileNotFoundError:
        return 0.0
