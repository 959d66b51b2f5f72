"""Who may see the pages: the endpoint's token once, and from then on a signed cookie that is not the token.

No worker keeps anything of a session. The cookie says when it ends, and an HMAC of that under a key that is
derived from both tokens says that this server gave it: another token ends all sessions.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

COOKIE = "churn_session"
SESSION_SECONDS = 12 * 60 * 60

# No cookie of this server is longer.
MOST_CHARACTERS = 200


class Sessions:
    """Gives cookies to who has a token, and knows its own again."""

    def __init__(self, token: str, admin_token: str, clock: Callable[[], float] = time.time) -> None:
        self._tokens = token.encode(), admin_token.encode()
        self._key = hmac.digest(b"\0".join(self._tokens), b"churn pages, version 1", hashlib.sha256)
        self._clock = clock

    def begin(self, given: str) -> str | None:
        """Return the value of a new cookie to who gives a token, None to who gives none."""
        # Both, and in constant time, which does not reveal how many characters are right.
        is_token = [hmac.compare_digest(given.strip().encode(), one) for one in self._tokens]
        if not any(is_token):
            return None
        said = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{said}.{self._mark('session', said)}"

    def is_valid(self, cookie: str | None) -> bool:
        """Return whether a cookie is one of this server's and has not ended."""
        if not cookie or len(cookie) > MOST_CHARACTERS or not cookie.isascii():
            return False
        said, _, mark = cookie.rpartition(".")
        ends, _, _ = said.partition(".")
        if not hmac.compare_digest(mark, self._mark("session", said)):
            return False
        return int(ends) > self._clock()

    def form_token(self, cookie: str) -> str:
        """Return what a form of this session sends along, which no other site can know."""
        return self._mark("form", cookie)

    def is_own_form(self, cookie: str, given: str) -> bool:
        """Return whether a form was of this session's pages."""
        return hmac.compare_digest(given.encode(), self.form_token(cookie).encode())

    def _mark(self, use: str, said: str) -> str:
        return hmac.new(self._key, f"{use}:{said}".encode(), hashlib.sha256).hexdigest()
