"""A lease in a bucket: one holder on all machines, until it gives the lease back or has died.

The lease is an object that is only ever written by a condition on what was there before, so of two that reach
for it one gets it. Its holder writes it anew while at work. Who died does not, and after ``EXPIRES_SECONDS``
by the bucket's own clock another may take over: no two machines' clocks are compared. Who was only away so
long finds the lease lost, and what it goes on to commit meets Delta's own conditional commits.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from churn_assets import bucket
from churn_assets.errors import BusyError

EXPIRES_SECONDS = 60.0
RENEWALS_PER_EXPIRY = 4
POLL_SECONDS = 0.5


class Lease:
    """One lease, for one process.

    Args:
        place: the object in the bucket.
        expires: seconds without a renewal after which another may take it.
    """

    def __init__(self, place: Path, expires: float = EXPIRES_SECONDS) -> None:
        self._place = place
        self._expires = expires
        self._myself: dict[str, Any] = {}
        self._other: dict[str, Any] = {}
        self._tag = ""
        self._renewed_at = 0.0
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    @property
    def is_lost(self) -> bool:
        """Whether another has taken it, or may have by now."""
        return not self._tag or time.monotonic() - self._renewed_at > self._expires

    def acquire(self, patience: float) -> None:
        """Take the lease.

        Args:
            patience: seconds to wait for another holder.

        Raises:
            BusyError: another holds it; says who, where and since when.
        """
        until = time.monotonic() + patience
        self._myself = _myself(self._expires)
        while not self._try():
            if time.monotonic() >= until:
                raise BusyError(self._who())
            time.sleep(POLL_SECONDS)
        self._ended.clear()
        self._renewing = threading.Thread(target=self._renew_until_ended, daemon=True)
        self._renewing.start()

    def release(self) -> None:
        """Give the lease back, unless another has it."""
        self._ended.set()
        if self._renewing:
            self._renewing.join()
        if not self._tag:
            return
        with contextlib.suppress(Exception):  # It expires.
            bucket.replace(self._place, _content(None), self._tag)
        self._tag = ""

    def holder(self) -> dict[str, Any] | None:
        """Return who holds the lease; None where nobody does, or its holder is dead."""
        found = bucket.read(self._place)
        return None if found is None or self._is_free(found) else _holder(found)

    def _try(self) -> bool:
        content = _content(self._myself)
        began = time.monotonic()
        tag = bucket.create(self._place, content)
        if tag is None:
            found = bucket.read(self._place)
            if found is None:
                return False
            if found.content == content:
                # The answer to this process's own write was lost.
                tag = found.tag
            elif self._is_free(found):
                tag = self._replaced(content, found.tag)
            else:
                self._other = _holder(found) or {}
        if tag is None:
            return False
        self._tag, self._renewed_at = tag, began
        return True

    def _replaced(self, content: bytes, tag: str) -> str | None:
        new = bucket.replace(self._place, content, tag)
        if new is None and (found := bucket.read(self._place)) and found.content == content:
            return found.tag
        return new

    def _is_free(self, found: bucket.Stored) -> bool:
        holder = _holder(found)
        if holder is None or _is_dead(holder):
            return True
        clock = self._place.with_name(f"{self._place.name}.{secrets.token_hex(4)}")
        age = bucket.now(clock) - found.written_at
        bucket.remove(clock)
        # The bucket's clock may tell whole seconds only.
        return age > float(holder.get("expires", self._expires)) + 1

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._expires / RENEWALS_PER_EXPIRY):
            began = time.monotonic()
            # A bucket that does not answer now may do so the next time, and the lease expires by itself.
            with contextlib.suppress(Exception):
                tag = self._replaced(_content(self._myself), self._tag)
                if tag is None:
                    self._tag = ""
                    return
                self._tag, self._renewed_at = tag, began

    def _who(self) -> str:
        other = self._other
        return (
            f"Another churn run is at work on this lake: process {other.get('pid', '?')} on "
            f"{other.get('host', 'another machine')}, since {other.get('since', '?')}. Wait for it; if it "
            f"died, its lease ends after {other.get('expires', self._expires):g} s."
        )


@contextlib.contextmanager
def held(lease: Lease, patience: float) -> Iterator[Lease]:
    """Hold a lease.

    Raises:
        BusyError: as ``Lease.acquire``.
    """
    lease.acquire(patience)
    try:
        yield lease
    finally:
        lease.release()


def _myself(expires: float) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "machine": _machine(),
        "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "expires": expires,
    }


def _content(holder: dict[str, Any] | None) -> bytes:
    # No two writes are the same, as a store's tag may be made of the content alone.
    return json.dumps({"holder": holder, "nonce": secrets.token_hex(8)}).encode()


def _holder(found: bucket.Stored) -> dict[str, Any] | None:
    try:
        return json.loads(found.content).get("holder")
    except (ValueError, AttributeError):
        # No text of ours: whoever wrote it does not renew it.
        return {}


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether a holder on this very machine has ended, which needs no waiting."""
    pid = holder.get("pid")
    return holder.get("machine") == _machine() and isinstance(pid, int) and not psutil.pid_exists(pid)


@cache
def _machine() -> str:
    """Return what is equal only where process ids mean the same processes; empty where that is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return secrets.token_hex(8)
