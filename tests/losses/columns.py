"""The services at work, and what each is promised. Pure.

Each column is one kind of worker: its language, what it does on its stop signal, how often it sends
heartbeats, its stop grace, and on a Swarm, how the tasks that go are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from autoscaler.core.label_values import SwarmChoice

REPORTED = 5.0
"""Seconds after which a heartbeat that was due has surely come, and the daemon has acted on it."""


class OnSignal(Enum):
    """What a worker does on SIGTERM. The value says it in the table."""

    FINISHES = "finishes its tasks"
    ENDS = "ends at once"
    IGNORES = "ignores SIGTERM"


@dataclass(frozen=True, slots=True)
class Column:
    """One service."""

    name: str
    language: str
    on_signal: OnSignal
    heartbeat: float
    """Seconds between two heartbeats; 0: the worker sends none."""
    grace: float
    """Seconds between stop signal and SIGKILL."""
    local: bool = False
    """Whether its tasks are local activities."""
    choice: SwarmChoice | None = None
    """How the Swarm's tasks that go are chosen; None: the service is on Compose."""

    @property
    def title(self) -> str:
        """What it is, in words."""
        beats = f"heartbeats {self.heartbeat:g} s" if self.heartbeat else "no heartbeats"
        kind = f"{self.language}, local activities" if self.local else self.language
        choice = f", `{self.choice}`" if self.choice else ""
        return f"{kind}, {self.on_signal.value}, {beats}, grace {self.grace:g} s{choice}"

    @property
    def nothing_lost(self) -> bool:
        """Whether no task at all may be lost.

        At the end of the grace, a heartbeat has told of every task that runs. A worker that ends at
        once cannot be helped: its newest task has never been reported. Neither can one on a Swarm,
        which kills what still runs when the grace is over.
        """
        return (
            self.choice is None
            and self.on_signal is not OnSignal.ENDS
            and self.heartbeat > 0
            and self.grace >= self.heartbeat + REPORTED
        )

    @property
    def promise(self) -> str:
        """What is promised of a scale-in, in words."""
        if self.nothing_lost:
            return "no task is lost"
        kept = [f"has run for {self.heartbeat:g} s"] if self.heartbeat else []
        if self.on_signal is not OnSignal.ENDS:
            kept.append(f"ends within {self.grace:g} s")
        return f"none that {' or '.join(kept)}"

    def promised(self, ran: float, left: float) -> bool:
        """Whether a task was promised to be kept.

        When its worker was told to stop, it had run for `ran` seconds, and needed `left` more.
        """
        reported = self.heartbeat > 0 and ran > self.heartbeat + REPORTED
        finished = self.on_signal is not OnSignal.ENDS and left <= self.grace - REPORTED
        return self.nothing_lost or reported or finished


PYTHON, TYPESCRIPT = "Python", "TypeScript"

COLUMNS = (
    Column("py-5", PYTHON, OnSignal.FINISHES, 5, 10),
    Column("py-5-local", PYTHON, OnSignal.FINISHES, 5, 10, local=True),
    Column("py-60", PYTHON, OnSignal.FINISHES, 60, 90),
    Column("py-60-short", PYTHON, OnSignal.FINISHES, 60, 10),
    Column("py-off", PYTHON, OnSignal.FINISHES, 0, 30),
    Column("py-ends", PYTHON, OnSignal.ENDS, 5, 10),
    Column("py-ignores", PYTHON, OnSignal.IGNORES, 5, 30),
    Column("py-ignores-off", PYTHON, OnSignal.IGNORES, 0, 30),
    Column("ts-5", TYPESCRIPT, OnSignal.FINISHES, 5, 10),
    Column("ts-60", TYPESCRIPT, OnSignal.FINISHES, 60, 90),
    Column("ts-off", TYPESCRIPT, OnSignal.FINISHES, 0, 30),
    Column("ts-ends", TYPESCRIPT, OnSignal.ENDS, 5, 10),
    Column("ts-ignores", TYPESCRIPT, OnSignal.IGNORES, 5, 30),
)
"""On Compose."""

ORDER, ANY = SwarmChoice.ORDER, SwarmChoice.ANY

SWARM_COLUMNS = (
    Column("py-any", PYTHON, OnSignal.FINISHES, 5, 10, choice=ANY),
    Column("py-any-60", PYTHON, OnSignal.FINISHES, 60, 30, choice=ANY),
    Column("py-any-off", PYTHON, OnSignal.FINISHES, 0, 30, choice=ANY),
    Column("py-any-ends", PYTHON, OnSignal.ENDS, 5, 10, choice=ANY),
    Column("py-order", PYTHON, OnSignal.FINISHES, 5, 10, choice=ORDER),
    Column("ts-any", TYPESCRIPT, OnSignal.FINISHES, 5, 10, choice=ANY),
    Column("ts-order", TYPESCRIPT, OnSignal.FINISHES, 5, 150, choice=ORDER),
    Column("ts-order-ends", TYPESCRIPT, OnSignal.ENDS, 5, 10, choice=ORDER),
)
"""On a Swarm. Their graces are shorter than the longest task, but for one."""
