"""The landing zone on a volume of Unity Catalog, listed through the Files API."""

from collections import deque
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import requests
from databricks.sdk.errors import NotFound
from databricks.sdk.errors.base import DatabricksError

from churn_assets.errors import LandingError, one_line
from churn_assets.lakehouse.landing import Listing, is_unfinished, missing

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


def list_volume(client: "WorkspaceClient", root: str) -> Listing:
    """List the event files of a folder in a volume, and of its subfolders.

    It is a request a folder and thousand entries, in which the service gives no order and no filter: what is
    new cannot be asked for.

    Raises:
        LandingError: the folder does not exist or cannot be read.
    """
    root = root.rstrip("/")
    names: list[str] = []
    folders = deque([root])
    try:
        while folders:
            for entry in client.files.list_directory_contents(folders.popleft()):
                path = entry.path or ""
                if not entry.is_directory:
                    names.append(path.removeprefix(f"{root}/"))
                elif not is_unfinished(PurePosixPath(path).name):
                    folders.append(path)
    except NotFound as error:
        raise missing(root) from error
    except (DatabricksError, requests.RequestException, TimeoutError) as error:
        raise LandingError(
            f"The landing zone {root} cannot be read: {one_line(error)}. See what is missing: churn doctor"
        ) from error
    return Listing.of(names)
