"""One start of a step on Databricks: its names, and the run tag by which a restarted worker finds it."""

import hashlib
import re
from dataclasses import dataclass

import dagster as dg

TAG_PREFIX = "churn/databricks_run/"


@dataclass(frozen=True)
class Launch:
    """One start of a step.

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
        """The run's unique name, which identifies a run whose id was lost with the answer."""
        return f"{self.step_key} of Dagster run {self.run_id}, attempt {self.attempt + 1}.{self.restart}"

    @property
    def idempotency_token(self) -> str:
        """The token of the submission; the step's key is digested, as 64 characters are allowed."""
        digest = hashlib.sha256(self.step_key.encode()).hexdigest()[:12]
        return f"{self.run_id}-{digest}-{self.attempt}.{self.restart}"

    def folder(self, root: str) -> str:
        """Return the folder of the step's staged files, below the root of all staging."""
        # Keys of dynamic steps have brackets.
        step = re.sub(r"[^A-Za-z0-9._-]", "_", self.step_key)
        return f"{root}/runs/{self.run_id}/{step}/{self.attempt}.{self.restart}"

    def note(self, instance: dg.DagsterInstance) -> None:
        """Keep the Databricks run's id as a tag of the Dagster run."""
        value = f"{self.attempt}.{self.restart}:{self.databricks_run_id}"
        instance.add_run_tags(self.run_id, {TAG_PREFIX + self.step_key: value})


def last_launch(instance: dg.DagsterInstance, run_id: str, step_key: str, attempt: int) -> Launch | None:
    """Return the last start of the same attempt by any worker, None if there was none."""
    run = instance.get_run_by_id(run_id)
    match = re.fullmatch(r"(\d+)\.(\d+):(\d+)", run.tags.get(TAG_PREFIX + step_key, "") if run else "")
    if not match or int(match[1]) != attempt:
        return None
    return Launch(run_id, step_key, attempt, int(match[2]), int(match[3]))
