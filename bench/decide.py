"""What a decision costs: python bench/decide.py

Decides for 10,000 services in one process; each round makes one decision for each of them. The
services have one recommendation in their history, or an hour of recommendations.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime, timedelta

from measure import Row, publish

from autoscaler.core.backlog import Backlog, QueueStats, TaskQueue, UnknownBacklog
from autoscaler.core.decide import decide
from autoscaler.core.history import History
from autoscaler.core.label_values import QueueType
from autoscaler.core.labels import read_labels
from autoscaler.core.situation import Situation

START = datetime(2026, 1, 1, tzinfo=UTC)
POLL = timedelta(seconds=5)
HOUR = timedelta(hours=1)
SPECS: dict[str, dict[str, str]] = {
    "default labels": {},
    "every rule": {
        "temporal.scale-out.window": "5m",
        "temporal.scale-in.window": "5m",
        "temporal.scale-out.limit": "4/15s,100%/15s",
        "temporal.scale-in.limit": "50%/1m",
        "temporal.tolerance": "10%",
        "temporal.max-wait": "2m",
    },
}


def situations(services: int, labels: dict[str, str], history: timedelta) -> list[Situation]:
    """Return situations with backlogs from empty to more than `max` replicas can be for."""
    spec = read_labels({"temporal.queue": "orders"} | labels)
    past = History.seed(1, START - history)
    for age in range(history // POLL, 0, -1):
        past = past.observe(1, UnknownBacklog(()), age % 10, START - age * POLL, HOUR)
    queue = TaskQueue("default", None, "orders", QueueType.WORKFLOW)
    return [
        Situation(
            spec=spec,
            replicas=1 + number % 10,
            backlog=Backlog({queue: _stats(number % 150)}),
            history=past,
            now=START,
        )
        for number in range(services)
    ]


def _stats(waiting: int) -> QueueStats:
    return QueueStats(
        waiting=waiting, age=timedelta(seconds=waiting), add_rate=1.0, dispatch_rate=1.0
    )


def rounds(number: int, known: list[Situation]) -> list[float]:
    """Return for each round the microseconds per decision."""
    taken = []
    for _ in range(number):
        begin = time.perf_counter()
        for situation in known:
            decide(situation)
        taken.append((time.perf_counter() - begin) / len(known) * 1e6)
    return taken


def measure(number: int, services: int) -> list[Row]:
    """Measure decisions with few and many labels, with a short and a long history."""
    return [
        Row(f"{name}, looks back on {history // POLL}", taken, "µs")
        for name, labels in SPECS.items()
        for history in (POLL, HOUR)
        for taken in [rounds(number, situations(services, labels, history))]
    ]


def main() -> None:
    """Measure, print the table and write it to docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    publish("decide", measure(asked.rounds, asked.services))


if __name__ == "__main__":
    main()
