"""Who else can use this machine, and so the engine while it runs.

Sail's server listens on a port of this machine and asks nobody who they are (pysail 0.7.2 has neither a token
nor TLS nor a Unix socket for it): any account that can open a socket can run code as the lake's owner.
"""

import os
from pathlib import Path

NO_SHELLS = ("nologin", "false", "sync", "halt", "shutdown", "")

# In the lake, once it was said there.
SAID = ".other-accounts-were-named"


def accounts_with_a_shell() -> list[str]:
    """Return the names of the other accounts that can log in, without root, which may do anything anyway."""
    try:
        import pwd
    except ImportError:
        # Windows has other accounts, and no list of them that Python reads.
        return []
    mine = {0, os.getuid()}
    return sorted(
        entry.pw_name
        for entry in pwd.getpwall()
        if entry.pw_uid not in mine and Path(entry.pw_shell).name not in NO_SHELLS
    )


def warning() -> str | None:
    """Return the danger in one line; None where nobody else has a shell."""
    names = accounts_with_a_shell()
    if not names:
        return None
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"other accounts of this machine have a shell ({shown}), and while Sail runs each can run code "
        "as you through its port: use a machine or container of your own (docs/security.md)"
    )


def first_warning(local_root: Path) -> str | None:
    """Return the same, once for each lake."""
    said = local_root / SAID
    if said.exists() or (line := warning()) is None:
        return None
    said.touch()
    return line
