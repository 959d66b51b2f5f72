"""One start of one step on Databricks: its names, and the note by which a restarted worker finds it again."""

import hashlib
import re
from dataclasses import dataclass

import dagster as dg

TAG_PREFIX = "churn/databricks_run/"


@dataclass(frozen=True)
class Launch:
    """One start.

    Attributes:
        run_id: of the Dagster run.
        step_key: of the step.
        attempt: 0, and one more each time Dagster retries the step.
        restart: 0, and one more each time the Databricks run of the same attempt had been lost.
        databricks_run_id: None until it has been submitted.
    """

    run_id: str
    step_key: str
    attempt: int
    restart: int = 0
    databricks_run_id: int | None = None

    @property
    def name(self) -> str:
        """Unique among all runs, by which one is found whose id was never heard."""
        return f"{self.step_key} of Dagster run {self.run_id}, attempt {self.attempt + 1}.{self.restart}"

    @property
    def idempotency_token(self) -> str:
        """At most 64 characters, so the step's key is in it as a digest."""
        digest = hashlib.sha256(self.step_key.encode()).hexdigest()[:12]
        return f"{self.run_id}-{digest}-{self.attempt}.{self.restart}"

    def folder(self, root: str) -> str:
        """Where the step's files are staged, below the root of all staging."""
        # Keys of dynamic steps have brackets.
        step = re.sub(r"[^A-Za-z0-9._-]", "_", self.step_key)
        return f"{root}/runs/{self.run_id}/{step}/{self.attempt}.{self.restart}"

    def note(self, instance: dg.DagsterInstance) -> None:
        """Keep the Databricks run's id as a tag of the Dagster run."""
        value = f"{self.attempt}.{self.restart}:{self.databricks_run_id}"
        instance.add_run_tags(self.run_id, {TAG_PREFIX + self.step_key: value})


def noted(instance: dg.DagsterInstance, run_id: str, step_key: str, attempt: int) -> Launch | None:
    """The last start of the same attempt, by whatever worker; None if there was none."""
    run = instance.get_run_by_id(run_id)
    match = re.fullmatch(r"(\d+)\.(\d+):(\d+)", run.tags.get(TAG_PREFIX + step_key, "") if run else "")
    if not match or int(match[1]) != attempt:
        return None
    return Launch(run_id, step_key, attempt, int(match[2]), int(match[3]))
