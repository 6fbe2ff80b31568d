"""What is known of the way in which a service's replicas take their stop signal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from autoscaler.core.durations import format_duration

GUIDE = "see docs/graceful-shutdown.md"

DEFAULT_GRACE = timedelta(seconds=10)
"""Time between stop signal and kill where nobody chose one."""


@dataclass(frozen=True, slots=True)
class IgnoredSignal:
    """The stop signal of a service, and the process that is certain to ignore it."""

    signal: str
    """As Docker writes signals: SIGTERM, TERM or 15."""
    process: str
    """Name of the first process of its containers, such as `python`: only that one gets it."""
    shell: bool
    """Whether that process is a shell, which the worker runs under."""

    @property
    def words(self) -> str:
        """What it leads to and what to do about it; one sentence without a full stop."""
        if self.shell:
            ignores = f"{self.signal} stops at the shell ({self.process}) that the worker runs in"
            remedy = 'start the worker with exec: sh -c "exec python worker.py"'
        else:
            ignores = f"{self.process} ignores {self.signal}"
            remedy = (
                "handle the signal, so that running tasks are finished, or set init: true, so that"
                " it ends the worker"
            )
        return (
            f"{ignores}: a replica that is told to stop goes on taking tasks, so none can be"
            f" stopped without losing some; {remedy}; {GUIDE}"
        )


def outlasted(grace: timedelta) -> str:
    """Say that a task was seen to run for longer than a stop grace, and what to do about it."""
    return (
        f"a task was seen to run for longer than the stop grace of {format_duration(grace)}:"
        f" raise stop_grace_period; {GUIDE}"
    )
