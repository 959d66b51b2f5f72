"""Runs a step for the step launcher: from a pickled reference, its events relayed as Dagster wrote them."""

import pickle
from pathlib import Path
from typing import Any

from .batches import Batches
from .heartbeat import Heartbeat

ENDINGS = frozenset({"STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY", "STEP_SKIPPED"})


def run(folder: Path, _: dict[str, Any], heartbeat: Heartbeat) -> bool:
    """Run the step, and return whether it ended well."""
    from dagster._core.execution.plan.external_step import (
        external_instance_from_step_run_ref,
        run_step_from_ref,
    )
    from dagster._serdes import serialize_value

    step_run_ref = pickle.loads((folder / "step_run_ref.pkl").read_bytes())  # noqa: S301 - the launcher wrote it
    outcomes = []
    with Batches(folder, heartbeat, serialize_value) as batches:

        def relay(entry: Any) -> None:
            if entry.is_dagster_event and entry.dagster_event.event_type_value in ENDINGS:
                outcomes.append(entry.dagster_event.event_type_value)
            batches.put(entry)

        with external_instance_from_step_run_ref(step_run_ref, event_listener_fn=relay) as instance:
            for _event in run_step_from_ref(step_run_ref, instance):
                pass
    return outcomes[-1:] in (["STEP_SUCCESS"], ["STEP_SKIPPED"])
