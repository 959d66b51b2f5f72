"""How a message tells its reader to start a command: by ``make`` in a checkout, else by ``churn``.

In a checkout ``churn`` is not on the path of a newcomer, and where a wheel is installed there is no Makefile.
"""

from contextlib import suppress
from pathlib import Path
from typing import Literal

CHECKOUT = Path(__file__).resolve().parents[1]


def start(command: Literal["demo", "dev", "serve"]) -> str:
    """Return what does the same as ``churn <command>``, as it can be typed in the current folder."""
    with suppress(OSError):
        if (Path.cwd() / "Makefile").samefile(CHECKOUT / "Makefile"):
            return f"make {command}"
    return f"churn {command}"
