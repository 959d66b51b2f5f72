"""The checks before any work: the bearer tokens, and the type and size of the body."""

import asyncio
import hmac
import zlib

from starlette.requests import ClientDisconnect, Request

from churn_assets.serving.scoring.replies import (
    BadRequestError,
    BusyError,
    ForbiddenError,
    TimedOutError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaError,
)
from churn_assets.serving.server.options import Options

# For a whole body to arrive: a client that sends a byte a minute must not hold a connection for ever.
BODY_SECONDS = 30.0

# So many bodies of more than these bytes are worked on at once; what is smaller needs no bound.
LARGE_BYTES = 1024 * 1024
MOST_LARGE = 8
IS_LARGE = "churn.is_large"

GZIP_MAGIC = b"\x1f\x8b"
# zlib's largest window, with a gzip header.
GZIP_BITS = 31


class Access:
    """The checks of one server's tokens and size limit."""

    def __init__(self, options: Options) -> None:
        self._expected = b"bearer " + options.token.encode()
        self._expected_admin = b"bearer " + options.admin_token.encode()
        self._max_bytes = options.max_bytes
        self._large = 0

    def require_token(self, request: Request) -> None:
        """Require one of the bearer tokens.

        Raises:
            UnauthenticatedError: the request has no token.
            ForbiddenError: the token is wrong.
        """
        given = self._given(request)
        # In constant time, which does not reveal how many characters are right.
        if not hmac.compare_digest(given, self._expected) and not hmac.compare_digest(
            given, self._expected_admin
        ):
            raise ForbiddenError("The token is not that of this endpoint. See CHURN_ENDPOINT_TOKEN.")

    def require_admin_token(self, request: Request) -> None:
        """Require the bearer token of who manages the endpoint.

        Raises:
            UnauthenticatedError: the request has no token.
            ForbiddenError: the token is wrong, or only for scoring.
        """
        if not self.is_admin(request):
            self.require_token(request)
            raise ForbiddenError(
                "The token is that of scoring. Managing takes CHURN_ENDPOINT_ADMIN_TOKEN, or what the "
                "server wrote to the file admin-token beside its file token."
            )

    def is_admin(self, request: Request) -> bool:
        """Return whether the request has the token of who manages the endpoint.

        Raises:
            UnauthenticatedError: the request has no token.
        """
        return hmac.compare_digest(self._given(request), self._expected_admin)

    @staticmethod
    def _given(request: Request) -> bytes:
        authorization = request.headers.get("authorization")
        if not authorization:
            raise UnauthenticatedError(
                "No token was sent; expected the header Authorization: Bearer <token>."
            )
        scheme, _, token = authorization.partition(" ")
        return f"{scheme.lower()} {token.strip()}".encode()

    async def body(self, request: Request, max_bytes: int | None = None) -> bytes:
        """Return the whole body of a JSON request, unpacked.

        Args:
            request: the request.
            max_bytes: the limit, by default that of the server.

        Raises:
            UnsupportedMediaError: the content type is not JSON, or the encoding is not gzip.
            TooLargeError: the body or its declared length is over the limit, as sent or unpacked.
            BusyError: too many large bodies are being read or scored.
            TimedOutError: the body does not arrive in time.
            BadRequestError: the client closed the connection, or the gzip is damaged.
        """
        _require_json(request.headers.get("content-type", ""))
        encoding = _encoding(request.headers.get("content-encoding", ""))
        limit = self._max_bytes if max_bytes is None else max_bytes
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._read(request, limit)
        except TimeoutError as error:
            raise TimedOutError(f"The body did not arrive within {BODY_SECONDS:.0f} s.") from error
        except ClientDisconnect as error:
            raise BadRequestError("The connection was closed before the body was complete.") from error
        # A proxy may unpack the body and keep the header; no JSON begins like gzip.
        return _unpack(body, limit) if encoding and body.startswith(GZIP_MAGIC) else body

    async def _read(self, request: Request, limit: int) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if size > LARGE_BYTES and IS_LARGE not in request.scope:
                self._begin_large(request)
            parts.append(part)
        return b"".join(parts)

    def _begin_large(self, request: Request) -> None:
        if self._large >= MOST_LARGE:
            raise BusyError(
                f"{MOST_LARGE} large bodies are being worked on; try again, or send fewer rows in each."
            )
        self._large += 1
        request.scope[IS_LARGE] = True

    def end(self, request: Request) -> None:
        """End a request whose body was read: a large one makes room for another."""
        self._large -= IS_LARGE in request.scope


def _unpack(body: bytes, limit: int) -> bytes:
    """Unpack gzip, never more of it than the limit."""
    parts, room = [], limit
    while body:
        # Concatenated gzip files are one gzip file.
        member = zlib.decompressobj(wbits=GZIP_BITS)
        try:
            part = member.decompress(body, room + 1)
        except zlib.error as error:
            raise BadRequestError(f"The body is no whole gzip: {error}.") from error
        room -= len(part)
        if room < 0:
            raise _too_large(limit)
        if not member.eof:
            raise BadRequestError("The body is no whole gzip: it ends too early.")
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than {limit} bytes, as it came or unpacked; send fewer rows in a "
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
