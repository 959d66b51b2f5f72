"""Who may ask, and how much: the bearer token, the body's type and size."""

import asyncio
import hmac

from starlette.requests import ClientDisconnect, Request

from churn_assets.serving.options import Options
from churn_assets.serving.replies import (
    BadRequestError,
    ForbiddenError,
    TimedOutError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaError,
)

# For a body to arrive; who sends a byte a minute would otherwise hold a connection for ever.
BODY_SECONDS = 30.0


class Access:
    """The checks that come before any work."""

    def __init__(self, options: Options) -> None:
        self._expected = b"bearer " + options.token.encode()
        self._max_bytes = options.max_bytes

    def require_token(self, request: Request) -> None:
        """Let only those in who know the token.

        Raises:
            UnauthenticatedError: there is none.
            ForbiddenError: it is another.
        """
        given = request.headers.get("authorization")
        if not given:
            raise UnauthenticatedError(
                "No token was sent; expected the header Authorization: Bearer <token>."
            )
        scheme, _, token = given.partition(" ")
        # In a time that tells nothing of how much of it was right.
        if not hmac.compare_digest(f"{scheme.lower()} {token.strip()}".encode(), self._expected):
            raise ForbiddenError("The token is not that of this endpoint. See CHURN_ENDPOINT_TOKEN.")

    async def body(self, request: Request) -> bytes:
        """The whole body of a request that says it is JSON.

        Raises:
            UnsupportedMediaError: it says something else.
            TooLargeError: it is, or says that it is, over the limit.
            TimedOutError: it does not arrive.
            BadRequestError: the client went away in the middle.
        """
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json" and not media.endswith("+json"):
            raise UnsupportedMediaError(
                f"The content type is {media[:80] or 'missing'}; expected application/json."
            )
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read(request)
        except TimeoutError as error:
            raise TimedOutError(f"The body did not arrive within {BODY_SECONDS:.0f} s.") from error
        except ClientDisconnect as error:
            raise BadRequestError("The connection was closed before the body was complete.") from error

    async def _read(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(
            f"The body is larger than {self._max_bytes} bytes; send fewer rows in a request, "
            "or raise CHURN_ENDPOINT_MAX_MEGABYTES."
        )
