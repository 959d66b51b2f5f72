"""What a worker needs to know; small and plain, since each one gets a copy."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """One server.

    ``idle_seconds`` without a request give the model's memory back, 0 never does. ``metrics_folder`` is
    shared by the worker processes of a server; without it there is one worker, in somebody else's process.
    """

    state: Path
    online: Path
    token: str = field(repr=False)
    idle_seconds: int = 0
    max_bytes: int = 16 * 1024 * 1024
    metrics_folder: Path | None = None

    @property
    def has_a_parent(self) -> bool:
        """Whether a server's process watches over this worker's."""
        return self.metrics_folder is not None
