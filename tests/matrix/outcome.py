"""What became of layouts, and whether it was what is promised. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autoscaler.core.model import Replica


@dataclass
class Outcome:
    """What became of one layout."""

    choice: str
    fault: str
    layout: Mapping[str, int]
    """How many tasks each node had."""
    predicted: int
    """Idle tasks that Swarm's own order stops before any busy one can be hit."""
    gone: int = 0
    """Idle tasks that went."""
    lost: int = 0
    """Busy tasks that went, but for those on a node that was cut off."""
    stayed: int = 0
    """Idle tasks that had to go, and did not in time."""
    vain: int = 0
    """Tasks that run at the end, and did not at the beginning."""
    seconds: float = 0.0
    """From the first tick until all that had to go were gone."""
    killed_frozen: bool = False
    """Whether the daemon was killed while the service was frozen."""
    frozen: bool = False
    """Whether the service was still frozen at the end."""
    problems: list[str] = field(default_factory=list)
    """What else went another way than promised."""

    @property
    def broken(self) -> Sequence[str]:
        """Return the promises that were broken; empty where none was."""
        beyond = self.choice == "order" and self.gone != self.predicted
        found = (
            f"{self.lost} busy tasks were lost" if self.lost else "",
            f"{self.stayed} idle tasks stayed" if self.stayed else "",
            f"{self.gone} went, and the order lets {self.predicted} go" if beyond else "",
            "the service was left frozen" if self.frozen else "",
            *self.problems,
        )
        return list(filter(None, found))

    def line(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {**asdict(self), "broken": self.broken}


def first_idle(replicas: Collection[Replica], busy: Collection[str]) -> set[str]:
    """Return the ids of the tasks that go in Swarm's own order before a busy one may."""
    turns: dict[int, set[str]] = {}
    for each in replicas:
        turns.setdefault(each.turn, set()).add(each.id)
    idle: set[str] = set()
    for turn in sorted(turns):
        if not turns[turn].isdisjoint(busy):
            break
        idle |= turns[turn]
    return idle


def summary(seen: Sequence[Outcome]) -> dict[str, Any]:
    """Return what became of all layouts with one choice and one fault, as plain data."""
    return {
        "choice": seen[0].choice,
        "fault": seen[0].fault,
        "layouts": len(seen),
        "busy tasks lost": sum(each.lost for each in seen),
        "layouts in which a promise was broken": sum(bool(each.broken) for each in seen),
        "layouts in which exactly the predicted number went": sum(
            each.gone == each.predicted for each in seen
        ),
        "layouts by idle tasks gone": dict(sorted(Counter(each.gone for each in seen).items())),
        "stopped in vain": sum(each.vain for each in seen),
        "killed while frozen": sum(each.killed_frozen for each in seen),
        "longest, in seconds": max(each.seconds for each in seen),
    }
