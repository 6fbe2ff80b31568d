"""A Swarm service as the engine describes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from autoscaler.orchestrators.engine import Json
from autoscaler.orchestrators.projects import STACK
from autoscaler.orchestrators.swarm.frost import frozen_since, is_frozen

LEFT_FROZEN = (
    "a daemon was stopped while it had frozen its placement, and it has no labels of the autoscaler"
    " any more; its placement is restored, and it is not scaled"
)
LEFT_AFTER = timedelta(minutes=1)
"""A daemon freezes a service for ten seconds at most. After this, no daemon is at work on it."""
_ROLLING_OUT = ("updating", "paused", "rollback_started", "rollback_paused")


def lag_of(row: Json) -> int:
    """Return how many tasks are missing; below zero, how many are still stopping.

    Zero where the engine does not count them.
    """
    status = row.get("ServiceStatus") or {}
    return int(status.get("DesiredTasks", 0)) - int(status.get("RunningTasks", 0))


def grace_of(row: Json) -> timedelta | None:
    """Return its stop grace; None where it has none of its own."""
    container: Json = row["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
    grace = container.get("StopGracePeriod")
    return None if grace is None else timedelta(microseconds=grace / 1000)


def labels_of(row: Json) -> Mapping[str, str]:
    """Return the labels of the service."""
    return row["Spec"].get("Labels") or {}


def stack_of(row: Json) -> str | None:
    """Return the stack that it belongs to; None: to none."""
    return labels_of(row).get(STACK)


def task_labels_of(row: Json) -> Mapping[str, str]:
    """Return the labels that its containers get."""
    container: Json = row["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
    return container.get("Labels") or {}


def refusal(row: Json) -> str | None:
    """Return why a service cannot be scaled at present; None where it can. Pure."""
    mode: Json = row["Spec"]["Mode"]
    if "Replicated" not in mode:
        return (
            f"its mode is {_mode_name(mode)}, and only replicated services have a number of"
            " replicas to change; deploy it with mode replicated"
        )
    if is_frozen(row["Spec"]):
        return "chosen tasks stop, and its placement is frozen meanwhile; it is scaled afterwards"
    state = (row.get("UpdateStatus") or {}).get("State")
    if state in _ROLLING_OUT:
        # Every write replaces PreviousSpec: an automatic rollback would have nowhere to go.
        return f"a rollout is under way ({state}); it is scaled again afterwards"
    return None


def needs_thaw(row: Json) -> bool:
    """Whether a service is frozen, or a rollback would freeze it and it may be written to."""
    previous: Json | None = row.get("PreviousSpec")
    returns = previous is not None and is_frozen(previous) and refusal(row) is None
    return is_frozen(row["Spec"]) or returns


def was_left_frozen(row: Json, now: datetime) -> bool:
    """Whether a service needs a thaw, and was frozen so long ago that nobody is at work on it."""
    if not needs_thaw(row):
        return False
    since = frozen_since(row["Spec"]) or frozen_since(row.get("PreviousSpec") or {})
    return since is not None and now - since > LEFT_AFTER


def _mode_name(mode: Json) -> str:
    names = {"Global": "global", "ReplicatedJob": "replicated-job", "GlobalJob": "global-job"}
    return next((name for key, name in names.items() if key in mode), "unknown")
