"""Where lists are handed over: a webhook, whose receiver can tell who posts, and a folder of files."""

import datetime as dt
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests

from churn_assets import durable_files, webhooks
from churn_assets.errors import ChurnError
from churn_assets.retention.formats import as_csv
from churn_assets.settings import Settings

# A receiver may store a list of a million users before it answers.
TIMEOUT_SECONDS = 60

SIGNATURE_HEADER = "Churn-Signature"
KEY_HEADER = "Idempotency-Key"


class NotTakenError(ChurnError):
    """A target did not take a list now; says why, and no secret."""


@dataclass(frozen=True)
class Handover:
    """The contacts of one date, as every target gets them.

    ``key`` is the same however often the list is sent, so that a receiver can drop what it has.
    """

    feature_date: dt.date
    key: str
    rows: list[dict[str, Any]]

    @property
    def csv(self) -> bytes:
        """The list as CSV."""
        return as_csv(self.rows)

    @property
    def digest(self) -> str:
        """SHA-256 of the CSV, in hexadecimal."""
        return hashlib.sha256(self.csv).hexdigest()


class Target(Protocol):
    """Takes one list at a time, and the same again without harm."""

    name: str

    def send(self, handover: Handover) -> None:
        """Hand a list over.

        Raises:
            NotTakenError: it was not taken.
        """


class WebhookTarget:
    """Posts a list as JSON, signed by a secret that only the receiver knows as well."""

    name = "webhook"

    def __init__(self, url: str, secret: str) -> None:
        self._url, self._secret = url, secret

    def send(self, handover: Handover) -> None:
        """Post the list.

        Raises:
            NotTakenError: it was refused, or not taken at the second attempt either.
        """
        body = json.dumps(
            {
                "feature_date": str(handover.feature_date),
                "rows": len(handover.rows),
                "digest": handover.digest,
                "contacts": handover.rows,
            },
            default=str,
        ).encode()
        headers = {
            "Content-Type": "application/json",
            KEY_HEADER: handover.key,
            SIGNATURE_HEADER: signature(self._secret, int(time.time()), body),
        }
        try:
            webhooks.post(self._url, body, headers, TIMEOUT_SECONDS)
        except requests.RequestException as error:
            what = webhooks.failure(error)
            # Neither the exception's text nor "from error": both would quote the URL.
            raise NotTakenError(f"the webhook {what}; check CHURN_DELIVERY_WEBHOOK") from None


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the header by which a receiver knows who posts, and that nobody posts an old list again.

    Returns:
        ``t=<Unix time>,v1=<HMAC-SHA256 of "<Unix time>.<body>", in hexadecimal>``.
    """
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={signed.hexdigest()}"


class FolderTarget:
    """Writes a file a date, ``retention_list-<date>.csv``, which is there as a whole or not at all."""

    name = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, handover: Handover) -> None:
        """Write the file, in place of the same one.

        Raises:
            NotTakenError: the folder cannot be written.
        """
        file = self._folder / f"retention_list-{handover.feature_date}.csv"
        draft = file.with_name(f".{file.name}.draft")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            durable_files.write(draft, handover.csv)
            draft.replace(file)
            # The new name, too, is to outlive a loss of power.
            durable_files.sync(self._folder)
        except OSError as error:
            raise NotTakenError(
                f"the folder {self._folder} cannot be written ({error.strerror}); check CHURN_DELIVERY_FOLDER"
            ) from error


def targets(settings: Settings) -> list[Target]:
    """Return every target that the settings name; without one, lists are not handed over."""
    named: list[Target] = []
    if settings.delivery_webhook:
        named.append(WebhookTarget(settings.delivery_webhook, settings.delivery_secret or ""))
    if settings.delivery_folder:
        named.append(FolderTarget(Path(settings.delivery_folder).expanduser().absolute()))
    return named
