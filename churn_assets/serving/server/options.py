"""The options of a worker; small and plain, because each worker gets a copy."""

from dataclasses import dataclass, field
from pathlib import Path

# Of one worker. 10,000 silent ones take some 100 MB.
MAX_CONNECTIONS = 8192


@dataclass(frozen=True)
class Options:
    """The options of one server.

    ``token`` scores; ``admin_token`` manages as well. After ``idle_seconds`` without a request a worker frees
    the model's memory; 0 keeps it. ``metrics_folder`` is shared by the worker processes of a server; without
    it there is one worker, in a process that is not the server's. With ``public_metrics`` metrics, version
    and OpenAPI document take no token. ``max_connections`` are those that a worker holds at once.
    """

    state: Path
    online: Path
    page: Path
    token: str = field(repr=False)
    admin_token: str = field(repr=False)
    idle_seconds: int = 0
    max_bytes: int = 16 * 1024 * 1024
    metrics_folder: Path | None = None
    public_metrics: bool = False
    max_connections: int = MAX_CONNECTIONS

    @property
    def has_a_parent(self) -> bool:
        """Whether this worker's process was started by a server's process."""
        return self.metrics_folder is not None
