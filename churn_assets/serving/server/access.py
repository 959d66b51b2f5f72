"""The checks before any work: the bearer token, and the type and size of the body."""

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

# For a whole body to arrive: a client that sends a byte a minute must not hold a connection for ever.
BODY_SECONDS = 30.0

GZIP_MAGIC = b"\x1f\x8b"
# zlib's largest window, with a gzip header.
GZIP_BITS = 31


class Access:
    """The checks of one server's token and size limit."""

    def __init__(self, options: Options) -> None:
        self._expected = b"bearer " + options.token.encode()
        self._max_bytes = options.max_bytes

    def require_token(self, request: Request) -> None:
        """Require the bearer token.

        Raises:
            UnauthenticatedError: the request has no token.
            ForbiddenError: the token is wrong.
        """
        authorization = request.headers.get("authorization")
        if not authorization:
            raise UnauthenticatedError(
                "No token was sent; expected the header Authorization: Bearer <token>."
            )
        scheme, _, token = authorization.partition(" ")
        # In constant time, which does not reveal how many characters are right.
        if not hmac.compare_digest(f"{scheme.lower()} {token.strip()}".encode(), self._expected):
            raise ForbiddenError("The token is not that of this endpoint. See CHURN_ENDPOINT_TOKEN.")

    async def body(self, request: Request) -> bytes:
        """Return the whole body of a JSON request, unpacked.

        Raises:
            UnsupportedMediaError: the content type is not JSON, or the encoding is not gzip.
            TooLargeError: the body or its declared length is over the limit, as sent or unpacked.
            TimedOutError: the body does not arrive in time.
            BadRequestError: the client closed the connection, or the gzip is damaged.
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
        # A proxy may unpack the body and keep the header; no JSON begins like gzip.
        return self._unpack(body) if encoding and body.startswith(GZIP_MAGIC) else body

    async def _read(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _unpack(self, body: bytes) -> bytes:
        """Unpack gzip, never more of it than the limit."""
        parts, room = [], self._max_bytes
        while body:
            # Concatenated gzip files are one gzip file.
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
        # MLflow refuses the same: another charset, and the format parameter of its releases before 2.0.
        if name != "charset" or value.strip('"') not in {"utf-8", "utf8"}:
            raise UnsupportedMediaError(
                f"The content type has the parameter {parameter[:80]}; expected charset=utf-8 or none."
            )


def _encoding(content_encoding: str) -> str:
    """Return the name of gzip in the header, or nothing for plain bodies."""
    encoding = content_encoding.strip().lower()
    if encoding in {"gzip", "x-gzip"}:
        return encoding
    if encoding in {"", "identity"}:
        return ""
    raise UnsupportedMediaError(f"The content encoding is {encoding[:80]}; expected gzip or none.")
