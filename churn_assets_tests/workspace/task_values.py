"""``dbruntime`` of the emulated cluster: what ``from databricks.sdk.runtime import dbutils`` finds in a task.

This file runs in a task's process, under the name ``dbruntime``, and so imports nothing of ours. It has
``dbutils.jobs.taskValues``, ``get`` and ``list`` of ``dbutils.secrets`` and the runtime's own credentials;
the rest of ``dbutils`` is not emulated, and asking for it is an AttributeError.
"""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

# As documented: the JSON of a value may not be longer than this.
MAX_VALUE_BYTES = 48 * 1024

# Filled by driver.py: host, token, task_key and the folder in which the run's tasks leave their values.
CONTEXT: dict[str, str] = {}


class TaskValues:
    """``dbutils.jobs.taskValues``."""

    def set(self, key: str, value: Any) -> None:
        """Leave a value for later tasks of the same run."""
        if not re.fullmatch(r"[\w.-]+", key):
            raise ValueError(f"The key {key!r} of a task value may hold letters, digits, _, - and . only.")
        encoded = json.dumps(value)
        if len(encoded.encode()) > MAX_VALUE_BYTES:
            raise ValueError(
                f"The task value {key!r} takes {len(encoded)} bytes; {MAX_VALUE_BYTES} are allowed."
            )
        folder = Path(CONTEXT["task_values"], CONTEXT["task_key"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.json").write_text(encoded)

    def get(self, taskKey: str, key: str, default: Any = None, debugValue: Any = None) -> Any:  # noqa: ARG002, N803 - the names are Databricks'
        """A value that another task of this run left; ``default`` if it left none."""
        file = Path(CONTEXT["task_values"], taskKey, f"{key}.json")
        if file.exists():
            return json.loads(file.read_text())
        if default is None:
            raise ValueError(f"No task value found for the task key {taskKey!r} and the key {key!r}.")
        return default


class Jobs:
    """``dbutils.jobs``."""

    taskValues = TaskValues()  # noqa: N815 - the name is Databricks'


class SecretMetadata(NamedTuple):
    """One secret's name."""

    key: str


class Secrets:
    """``dbutils.secrets``."""

    def list(self, scope: str) -> "list[SecretMetadata]":
        """The names of a scope's secrets."""
        listed = self._ask("list", scope=scope)
        return [SecretMetadata(secret["key"]) for secret in listed.get("secrets", [])]

    def get(self, scope: str, key: str) -> str:
        """A secret, as text."""
        import base64

        return base64.b64decode(self._ask("get", scope=scope, key=key)["value"]).decode()

    def _ask(self, what: str, **fields: str) -> "dict[str, Any]":
        request = urllib.request.Request(
            f"{CONTEXT['host']}/api/2.0/secrets/{what}?{urlencode(fields)}",
            headers={"Authorization": f"Bearer {CONTEXT['token']}"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


class DbUtils:
    """``dbutils``."""

    jobs = Jobs()
    secrets = Secrets()


class UserNamespaceInitializer:
    """Where databricks-sdk takes the notebook's global names from."""

    @classmethod
    def getOrCreate(cls) -> "UserNamespaceInitializer":  # noqa: N802 - the name is Databricks'
        """The one initialiser."""
        return cls()

    def get_namespace_globals(self) -> dict[str, Any]:
        """The names that a notebook would have."""
        return {"dbutils": DbUtils()}


def init_runtime_native_auth() -> tuple[str, Any]:
    """The host of this workspace and the headers of whoever runs the job, for databricks-sdk."""
    return CONTEXT["host"], lambda: {"Authorization": f"Bearer {CONTEXT['token']}"}
