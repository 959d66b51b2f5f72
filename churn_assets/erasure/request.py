"""One erasure from its plan to its receipt. Only while it is unfinished does a file hold whom it is about."""

import datetime as dt
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from churn_assets import bucket
from churn_assets.erasure import old_versions
from churn_assets.erasure.models import Example
from churn_assets.erasure.people import People
from churn_assets.errors import DamagedError
from churn_assets.lakehouse import erased_users
from churn_assets.lakehouse.erased_users import UNFINISHED, Receipt
from churn_assets.settings import Settings


@dataclass(frozen=True)
class Request:
    """What is to be done, and for whom.

    Attributes:
        name: its id.
        people: the users' ids.
        users: how many users they are.
        found: how many rows, lines or entries, by where they are.
        known_tables: tables that the ledger of dates knew before, by the contracts' names.
        model_versions: see ``models.trained_with``.
        examples: see ``models.examples``.
        remarks: what is left, and why.
    """

    name: str
    people: People
    users: int
    found: dict[str, int]
    known_tables: tuple[str, ...]
    model_versions: tuple[int, ...]
    examples: tuple[Example, ...]
    remarks: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one that has begun.

        Raises:
            DamagedError: it cannot be read.
        """
        try:
            fields: dict[str, Any] = json.loads(path.read_bytes())
            people = People(*map(frozenset, fields.pop("people").values()))
            examples = tuple(Example(path, tuple(rows)) for path, rows in fields.pop("examples"))
            lists = {name: tuple(fields.pop(name)) for name in ("known_tables", "model_versions", "remarks")}
            return cls(people=people, examples=examples, **lists, **fields)
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise DamagedError(
                f"The unfinished erasure {path} cannot be read ({type(error).__name__}). Delete it, and ask "
                "for the same users again."
            ) from error

    def begin(self, settings: Settings) -> None:
        """Write it down, so that it can be finished whatever happens."""
        fields = asdict(self)
        fields["people"] = {
            "user_ids": sorted(self.people.user_ids),
            "source_ids": sorted(self.people.source_ids),
        }
        _write(self._unfinished(settings), fields)

    def end(self, settings: Settings, remarks: tuple[str, ...]) -> Path:
        """Write the receipt, and forget whom it is about.

        Returns:
            The receipt's path.
        """
        key = erased_users.key(settings)
        receipt = Receipt(
            request=self.name,
            erased_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            users=self.users,
            hashes=tuple(erased_users.hashes_of(key, self.people.user_ids, self.people.source_ids)),
            removed=self.found,
            model_versions=self.model_versions,
            remarks=(*self.remarks, *remarks),
        )
        path = erased_users.folder(settings) / f"{self.name}.json"
        _write(path, receipt._asdict())
        old_versions.remove_for_good(self._unfinished(settings))
        return path

    def _unfinished(self, settings: Settings) -> Path:
        return erased_users.folder(settings) / f"{self.name}{UNFINISHED}"


def new_name(now: dt.datetime) -> str:
    """Return an id for a request."""
    return f"{now:%Y-%m-%dT%H-%M-%S}-{uuid.uuid4().hex[:8]}"


def _write(path: Path, content: dict[str, Any]) -> None:
    if bucket.is_bucket(path):
        path.write_text(json.dumps(content, indent=2))
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
