"""Who may ask, and how much: the bearer token, the body's type and size."""

import asyncio
import hmac
import zlib

from starlette.requests import ClientDisconnect, Request

from churn_assets.serving.scoring.replies import (
    BadRequestError,
    ForbiddenError,
    TimedOutError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaError,
)
from churn_assets.serving.server.options import Options

# For a body to arrive; who sends a byte a minute would otherwise hold a connection for ever.
BODY_SECONDS = 30.0

GZIP_MAGIC = b"\x1f\x8b"
# zlib's: the largest window, behind gzip's header.
GZIP_BITS = 31


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
            UnsupportedMediaError: it says something else, or is compressed in a way that is not read.
            TooLargeError: it is, or says that it is, over the limit, as it comes or unpacked.
            TimedOutError: it does not arrive.
            BadRequestError: the client went away in the middle, or what is said to be gzip is damaged.
        """
        _require_json(request.headers.get("content-type", ""))
        encoding = _encoding(request.headers.get("content-encoding", ""))
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._read(request)
        except TimeoutError as error:
            raise TimedOutError(f"The body did not arrive within {BODY_SECONDS:.0f} s.") from error
        except ClientDisconnect as error:
            raise BadRequestError("The connection was closed before the body was complete.") from error
        # A proxy that unpacks may leave the header as it was; no JSON begins like gzip.
        return self._unpacked(body) if encoding and body.startswith(GZIP_MAGIC) else body

    async def _read(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _unpacked(self, body: bytes) -> bytes:
        """What was packed, never more of it than the limit."""
        parts, room = [], self._max_bytes
        while body:
            # Several gzip files in a row are one.
            member = zlib.decompressobj(wbits=GZIP_BITS)
            try:
                part = member.decompress(body, room + 1)
            except zlib.error as error:
                raise BadRequestError(f"The body is no whole gzip: {error}.") from error
            room -= len(part)
            if room < 0:
                raise self._too_large()
            if not member.eof:
                raise BadRequestError("The body is no whole gzip: it ends too early.")
            parts.append(part)
            body = member.unused_data
        return b"".join(parts)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(
            f"The body is larger than {self._max_bytes} bytes, as it came or unpacked; send fewer rows in a "
            "request, or raise CHURN_ENDPOINT_MAX_MEGABYTES."
        )


def _require_json(content_type: str) -> None:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media != "application/json" and not media.endswith("+json"):
        raise UnsupportedMediaError(
            f"The content type is {media[:80] or 'missing'}; expected application/json."
        )
    for parameter in filter(None, parameters):
        name, _, value = parameter.partition("=")
        # As MLflow refuses them: one says that the bytes mean something else, the other is of before 2.0.
        if name != "charset" or value.strip('"') not in {"utf-8", "utf8"}:
            raise UnsupportedMediaError(
                f"The content type has the parameter {parameter[:80]}; expected charset=utf-8 or none."
            )


def _encoding(content_encoding: str) -> str:
    """What is read, gzip, or nothing."""
    encoding = content_encoding.strip().lower()
    if encoding in {"gzip", "x-gzip"}:
        return encoding
    if encoding in {"", "identity"}:
        return ""
    raise UnsupportedMediaError(f"The content encoding is {encoding[:80]}; expected gzip or none.")
