"""Where ``churn dev`` last served Dagster's UI, noted in Dagster's folder: other commands link to it."""

from pathlib import Path

DEFAULT_PORT = 3000
NOTE = "ui-url"


def url_of(port: int = DEFAULT_PORT) -> str:
    """Return the UI's address at a port of this machine."""
    return f"http://127.0.0.1:{port}"


def note(home: Path, port: int) -> None:
    """Note that the UI of the history in ``home`` is served at this port."""
    (home / NOTE).write_text(url_of(port))


def noted(home: Path) -> str:
    """Return the address that was noted, or that of the usual port."""
    try:
        return (home / NOTE).read_text().strip() or url_of()
    except (OSError, UnicodeDecodeError):
        return url_of()
