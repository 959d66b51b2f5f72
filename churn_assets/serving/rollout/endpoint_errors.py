"""Refusals of a workspace or the bundled server, as one line of error and advice."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.errors.platform import NotFound, PermissionDenied, TooManyRequests, Unauthenticated

from churn_assets.errors import EndpointError, one_line

ADVICE: dict[type[Exception], str] = {
    Unauthenticated: "Check DATABRICKS_TOKEN of a workspace, or CHURN_ENDPOINT_ADMIN_TOKEN of churn serve",
    PermissionDenied: "Who deploys needs CAN MANAGE on the endpoint, EXECUTE on the model, USE CATALOG and "
    "USE SCHEMA above it; of churn serve, CHURN_ENDPOINT_ADMIN_TOKEN or its file admin-token",
    TooManyRequests: "A limit is reached: delete endpoints that nobody uses, or ask for more",
    NotFound: "Check that the version is registered, and that nobody deleted the endpoint meanwhile",
    requests.RequestException: "Check the address, and that a server answers there",
}


@contextmanager
def endpoint_errors(endpoint: str, action: str) -> Iterator[None]:
    """Raise the SDK's errors as EndpointError, with one line of advice.

    Args:
        endpoint: the endpoint's name, for the message.
        action: the action in the block, such as "deploy version 3".

    Raises:
        EndpointError: the service refused a request, or could not be reached.
    """
    try:
        yield
    except (DatabricksError, requests.RequestException, TimeoutError) as error:
        # When the SDK stops retrying it raises a TimeoutError, whose cause is the last failure.
        failure = error.__cause__ if isinstance(error, TimeoutError) and error.__cause__ else error
        advice = next(
            (text for kind, text in ADVICE.items() if isinstance(failure, kind)),
            "See the endpoint's page and events",
        )
        raise EndpointError(
            f"{endpoint} failed to {action}: {one_line(failure, with_class=True)}. {advice}."
        ) from error
