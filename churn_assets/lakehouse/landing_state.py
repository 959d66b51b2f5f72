"""The files in the landing zone as one short text, which changes when a file lands."""

import hashlib

from churn_assets.lakehouse.landing import Listing

METADATA_NAME = "landing_state"


def state_of(listing: Listing) -> str:
    """Return the number of event files and a digest of their names.

    Names only: a file is ingested once, by its name, and never read again.
    """
    digest = hashlib.sha256("\n".join(listing.files).encode()).hexdigest()[:16]
    return f"{len(listing.files)} files {digest}"
