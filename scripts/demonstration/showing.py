"""What the demo prints: a live picture on a terminal, lines elsewhere, and the summary."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from demonstration.documents import DOCUMENTS
from demonstration.watching import Repeated, Sample

LINE_EVERY = 5.0
"""Seconds."""
HISTORY_COLUMNS = 60

# Lines are never wrapped: a failure is one line in the log of a build as well.
console = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)


@contextlib.contextmanager
def display() -> Iterator[Callable[[Sequence[Sample]], None]]:
    """Yield a function that shows the samples: as a live picture on a terminal, else as lines."""
    if not console.is_terminal:
        yield lines()
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda samples: live.update(picture(samples), refresh=True)


def lines() -> Callable[[Sequence[Sample]], None]:
    """Return a function that prints a line when the replicas change, and every few seconds."""
    shown: Sample | None = None

    def show(samples: Sequence[Sample]) -> None:
        nonlocal shown
        now = samples[-1]
        if shown and now.replicas == shown.replicas and now.at - shown.at < LINE_EVERY:
            return
        shown = now
        console.print(
            f"{now.at:5.0f} s   backlog {now.backlog:4}   replicas {now.replicas:2}"
            f"   completed {now.completed:3}"
        )

    return show


def picture(samples: Sequence[Sample]) -> Table:
    """Draw the latest numbers with their history."""
    now = samples[-1]
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(justify="right", min_width=4)
    table.add_column()
    table.add_row("seconds", f"{now.at:.0f}")
    table.add_row(
        "backlog", str(now.backlog), history([sample.backlog for sample in samples]), style="yellow"
    )
    table.add_row(
        "replicas",
        str(now.replicas),
        history([sample.replicas for sample in samples]),
        style="cyan",
    )
    done = ProgressBar(
        DOCUMENTS, now.completed, HISTORY_COLUMNS, complete_style="green", finished_style="green"
    )
    table.add_row("completed", str(now.completed), done, style="green")
    return table


def history(values: Sequence[int]) -> str:
    """Draw values as a row of bars; where there are many, each bar is the highest of several."""
    stretch = -(-len(values) // HISTORY_COLUMNS)
    highs = [max(values[start : start + stretch]) for start in range(0, len(values), stretch)]
    top = max(*highs, 1)
    return "".join(" ▁▂▃▄▅▆▇█"[-(-high * 8 // top)] for high in highs)


def summary(
    samples: Sequence[Sample],
    risen: Sample,
    drained: Sample,
    settled: Sample,
    repeated: Repeated,
) -> Table:
    """Sum up a run that went well."""
    spent = sum(one.replicas * (other.at - one.at) for one, other in pairwise(samples))
    always = risen.replicas * settled.at
    replicas = f"{samples[0].replicas} -> {risen.replicas} -> {settled.replicas}"
    table = Table(title="Replicas followed the backlog", show_header=False, title_justify="left")
    table.add_row("documents completed", f"{drained.completed} of {DOCUMENTS}")
    table.add_row("failed attempts", str(repeated.failed))
    if repeated.timed_out:
        table.add_row("timed-out attempts", f"{repeated.timed_out}, each repeated with success")
    table.add_row("replicas", replicas)
    table.add_row(f"time to {risen.replicas} replicas", f"{risen.at:.0f} s")
    table.add_row("time to drain", f"{drained.at:.0f} s")
    table.add_row(f"time back to {settled.replicas}", f"{settled.at:.0f} s")
    table.add_row("replica-seconds", f"{spent:.0f}; with {risen.replicas} throughout {always:.0f}")
    return table
