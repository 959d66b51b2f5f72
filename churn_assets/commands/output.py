"""Files that a command is told to write."""

import os
from pathlib import Path

from churn_assets.errors import SettingsError


def write_output(output: Path, content: bytes) -> None:
    """Write the file as a whole or not at all.

    Raises:
        SettingsError: it cannot be written.
    """
    draft = output.with_name(f".{output.name}-{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(output)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SettingsError(f"Cannot write {output}: {error.strerror}. Give another --output.") from error
