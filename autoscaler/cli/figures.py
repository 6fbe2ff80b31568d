"""How the commands show what a simulation has brought: figures as text, and charts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from rich.console import Console

from autoscaler.cli import chart
from autoscaler.core.durations import format_duration
from autoscaler.core.words import figure
from autoscaler.simulation.replay import Figures

NO_EFFECT = (
    "has backlogs, which no decision changes. A trace of arrivals also shows what the replicas"
    " achieve, and how long tasks wait."
)
"""What is said of a trace of backlogs."""


def rows(figures: Figures) -> dict[str, str]:
    """Return the figures as text, by their names: the rows of the table."""
    return {
        "time to drain": seconds(figures.time_to_drain, "never"),
        "mean wait": seconds(figures.mean_wait, "unknown"),
        "p95 wait": seconds(figures.p95_wait, "unknown"),
        "longest wait": seconds(figures.longest_wait, "unknown"),
        "replica-seconds": figure(round(figures.replica_seconds)),
        "changes of direction": figure(figures.changes_of_direction),
        "peak replicas": figure(figures.peak_replicas),
        "tasks done": "unknown" if figures.tasks_done is None else figure(figures.tasks_done),
        "still waiting": figure(figures.tasks_waiting),
    }


def seconds(number: float | None, unknown: str) -> str:
    """Return a number of seconds as a duration; `unknown` where there is none."""
    if number is None:
        return unknown
    return format_duration(timedelta(seconds=round(number, 1)))


def print_charts(
    console: Console, charts: Mapping[str, Mapping[str, chart.Line]], begins: datetime | None
) -> None:
    """Print a chart below the other for each title, with a line for each name.

    Below them are the times of the day where they begin at a date.
    """
    width = min(console.width, chart.WIDEST)
    colour = console.is_terminal and not console.no_color
    # Not the console's print: it would wrap the lines of a chart and interpret its colours.
    for title, lines in charts.items():
        print(chart.draw(title, lines, width, colour=colour, begins=begins))  # noqa: T201
