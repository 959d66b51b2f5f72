"""The files in the landing zone as one short text, which changes when a file lands."""

import hashlib

from churn_assets.lakehouse.landing import list_files

METADATA_NAME = "landing_state"


def landing_state(root: str) -> str:
    """Return the number of event files and a digest of their names.

    Names only: a file is ingested once, by its name, and never read again.

    Raises:
        LandingError: the landing zone does not exist or cannot be read from here.
    """
    files = list_files(root).files
    digest = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
    return f"{len(files)} files {digest}"
