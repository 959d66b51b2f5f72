"""The files in the landing zone as one short text, which changes when a file lands."""

import hashlib

from churn_assets.lakehouse.landing import Listing, list_files

METADATA_NAME = "landing_state"


def landing_state(root: str) -> str:
    """Return the number of event files and a digest of their names.

    Names only: a file is ingested once, by its name, and never read again.

    Raises:
        LandingError: the landing zone does not exist or cannot be read from here.
    """
    return state_of(list_files(root))


def state_of(listing: Listing) -> str:
    """Return the same of a landing zone that has been listed."""
    digest = hashlib.sha256("\n".join(listing.files).encode()).hexdigest()[:16]
    return f"{len(listing.files)} files {digest}"
