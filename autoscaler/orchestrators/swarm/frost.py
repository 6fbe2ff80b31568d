"""A service whose tasks are placed nowhere for a moment, and how that is undone. Pure.

While the placement of a service asks for a platform that no node has, its running tasks stay where
they are, and new ones get no node. Whoever freezes a service leaves a mark on it, so that anybody
can undo it: with the platforms it had, and the time.
"""

from __future__ import annotations

import copy
import json
from datetime import datetime

from autoscaler.orchestrators.engine import Json

MARK = "temporal-docker-autoscaler.frozen"
"""Label of a frozen service. It does not begin with the prefix of the scaling labels."""
NOWHERE = [{"Architecture": "none", "OS": "none"}]
"""The platforms of a frozen service."""


def can_freeze(spec: Json) -> bool:
    """Whether the spec of a service or a task has a placement.

    One without any is never frozen: to write none over one that is there crashes the manager
    (Engine 20.10, 26.1 and 28.5, measured 2026-11), so it could not be undone.
    """
    return _task(spec).get("Placement") is not None


def is_frozen(spec: Json) -> bool:
    """Whether the spec of a service is that of a frozen one."""
    placement = spec["TaskTemplate"].get("Placement") or {}
    return MARK in (spec.get("Labels") or {}) or placement.get("Platforms") == NOWHERE


def frozen_since(spec: Json) -> datetime | None:
    """Return when the spec of a service was frozen; None where it was not, or no mark says when."""
    try:
        at = datetime.fromisoformat(json.loads((spec.get("Labels") or {})[MARK])["at"])
    except (ValueError, KeyError, TypeError):
        return None
    return None if at.tzinfo is None else at


def freeze(spec: Json, at: datetime) -> Json:
    """Return the spec of a service with its placement frozen, and a mark that says so."""
    frozen = copy.deepcopy(spec)
    placement = frozen["TaskTemplate"]["Placement"]
    mark = {"platforms": placement.get("Platforms"), "at": at.isoformat()}
    placement["Platforms"] = NOWHERE
    frozen["Labels"] = {**(frozen.get("Labels") or {}), MARK: json.dumps(mark)}
    return frozen


def thaw(spec: Json) -> Json:
    """Return the spec of a frozen service with its own placement and without the mark.

    What others have changed meanwhile stays. Without a mark that can be read, no platform is asked
    for.
    """
    thawed = copy.deepcopy(spec)
    mark = (thawed.get("Labels") or {}).pop(MARK, "")
    placement = thawed["TaskTemplate"].get("Placement") or {}
    if placement.get("Platforms") == NOWHERE:
        platforms = _platforms(mark)
        if platforms:
            placement["Platforms"] = platforms
        else:
            del placement["Platforms"]
    return thawed


def _task(spec: Json) -> Json:
    task: Json = spec.get("TaskTemplate", spec)
    return task


def _platforms(mark: str) -> list[Json]:
    try:
        platforms = json.loads(mark)["platforms"]
    except (ValueError, KeyError, TypeError):
        return []
    return platforms if isinstance(platforms, list) else []
