"""What a workspace or the bundled server refuses, in one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.errors.platform import NotFound, PermissionDenied, TooManyRequests, Unauthenticated

from churn_assets.errors import EndpointError, one_line

ADVICE: dict[type[Exception], str] = {
    Unauthenticated: "Check DATABRICKS_TOKEN of a workspace, or CHURN_ENDPOINT_TOKEN of churn serve",
    PermissionDenied: "Who deploys needs CAN MANAGE on the endpoint, EXECUTE on the model, USE CATALOG and "
    "USE SCHEMA above it; of churn serve, its token",
    TooManyRequests: "A limit is reached: delete endpoints that nobody uses, or ask for more",
    NotFound: "Check that the version is registered, and that nobody deleted the endpoint meanwhile",
    requests.RequestException: "Check the address, and that a server answers there",
}


@contextmanager
def in_one_line(endpoint: str, doing: str) -> Iterator[None]:
    """Raise what the SDK raises as one line.

    Args:
        endpoint: its name, for the message.
        doing: what was tried, such as "deploy version 3".

    Raises:
        EndpointError: whatever the service refused, or that it could not be reached.
    """
    try:
        yield
    except (DatabricksError, requests.RequestException, TimeoutError) as error:
        # The SDK gives up retrying with a TimeoutError, and keeps what it retried as its cause.
        told = error.__cause__ if isinstance(error, TimeoutError) and error.__cause__ else error
        advice = next(
            (text for kind, text in ADVICE.items() if isinstance(told, kind)),
            "See the endpoint's page and events",
        )
        raise EndpointError(
            f"{endpoint} failed to {doing}: {one_line(told, with_class=True)}. {advice}."
        ) from error
