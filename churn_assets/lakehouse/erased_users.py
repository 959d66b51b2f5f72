"""Who was erased from a lake, as far as may be known: receipts with keyed hashes, and what is unfinished.

A receipt is a file of ``<lake>/erasures``; ``churn_assets.erasure`` writes it. The key is beside it, and goes
nowhere else.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from churn_assets.errors import DamagedError
from churn_assets.own_secrets import own_secret
from churn_assets.settings import Settings
from churn_assets.tables import ERASED_SOURCE, ERASED_USER_ID

FOLDER = "erasures"
KEY_FILE = "key"
# Its end says that an erasure has begun and not ended; it holds the ids until then.
UNFINISHED = ".unfinished"
FINISH = "churn forget --finish"
HOW_TO_FINISH = f"An erasure was interrupted. Finish it first: {FINISH}"


class ErasedUsers(NamedTuple):
    """What tells the lines of erased users: the key, and the keyed hashes of their ids."""

    key: bytes
    hashes: frozenset[str]


class Receipt(NamedTuple):
    """One erasure: what was removed, and of whom only hashes.

    Attributes:
        request: its id.
        erased_at: when it ended, UTC, ISO 8601.
        users: how many users it was for.
        hashes: keyed hashes of their ids.
        removed: how many rows, lines or entries, by where they were.
        model_versions: registered versions whose training dates these users have labelled rows in.
        remarks: what was left, and why.
    """

    request: str
    erased_at: str
    users: int
    hashes: tuple[str, ...]
    removed: dict[str, int]
    model_versions: tuple[int, ...]
    remarks: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a receipt.

        Raises:
            DamagedError: it cannot be read.
        """
        try:
            fields: dict[str, Any] = json.loads(path.read_bytes())
            lists = ("hashes", "model_versions", "remarks")
            return cls(**{**fields, **{name: tuple(fields[name]) for name in lists}})
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise DamagedError(
                f"The receipt of an erasure, {path}, cannot be read ({type(error).__name__}), so lines of "
                "erased users cannot be refused. Restore it from a backup."
            ) from error


def folder(settings: Settings) -> Path:
    """Return where receipts and the key are."""
    return settings.lake_root / FOLDER


def receipts(settings: Settings) -> Iterator[Receipt]:
    """Return the receipts of all erasures, in their order."""
    for path in sorted(folder(settings).glob("*.json")):
        yield Receipt.read(path)


def erased_users(settings: Settings) -> ErasedUsers | None:
    """Return what tells lines of erased users; None where nobody was erased.

    Raises:
        DamagedError: a receipt cannot be read, or the key is gone.
    """
    hashes = frozenset(one for receipt in receipts(settings) for one in receipt.hashes)
    if not hashes:
        return None
    if not (path := folder(settings) / KEY_FILE).exists():
        raise DamagedError(
            f"The key of this lake's erasures, {path}, is gone, so lines of erased users cannot be refused. "
            "Restore it from a backup."
        )
    return ErasedUsers(key(settings), hashes)


def key(settings: Settings) -> bytes:
    """Return the key of the hashes, which is made at the first use.

    Raises:
        SettingsError: others can read it, or it cannot be written.
    """
    secret = own_secret(
        folder(settings) / KEY_FILE, "The key of this lake's erasures", "Mend the lake's folder."
    )
    return secret.encode()


def hashes_of(key: bytes, user_ids: Iterable[int], source_ids: Iterable[str]) -> list[str]:
    """Return the keyed hashes of ids, as ``transforms.erasure`` computes them."""
    texts = [
        *(f"{ERASED_USER_ID}{one}" for one in user_ids),
        *(f"{ERASED_SOURCE}{one}" for one in source_ids),
    ]
    return sorted(hmac.new(key, text.encode(), hashlib.sha256).hexdigest() for text in texts)


def unfinished(settings: Settings) -> Path | None:
    """Return the erasure that has begun and not ended, if there is one."""
    return next(iter(sorted(folder(settings).glob(f"*{UNFINISHED}"))), None)
