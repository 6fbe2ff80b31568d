"""What was counted, as a table for people and as plain data for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.losses.ledger import Row

HEADS = (
    "workers",
    "promised",
    "scale-ins",
    "replicas stopped",
    "tasks done",
    "second attempts by a scale-in",
    "promise broken",
    "lost by others",
)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of docs/losses.md."""
    lines = [HEADS, ("---", "---", *["---:"] * 5, "---"), *map(cells, rows), totals(rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(row: Row) -> Sequence[str]:
    """Return one line of the table."""
    others = [f"{number} {cause.value}" for cause, number in row.by_others.items()]
    others += [f"{row.unfinished} not done in the end"] if row.unfinished else []
    return (
        row.column.title,
        row.column.promise,
        *(
            f"{figure:,}"
            for figure in (
                row.scale_ins, row.stopped, row.done, row.by_scale_in, len(row.broken)
            )
        ),
        "; ".join(others) or "none",
    )  # fmt: skip


def totals(rows: Sequence[Row]) -> Sequence[str]:
    """Return the last line of the table."""
    figures = (
        sum(row.scale_ins for row in rows),
        sum(row.stopped for row in rows),
        sum(row.done for row in rows),
        sum(row.by_scale_in for row in rows),
        sum(len(row.broken) for row in rows),
    )
    others = sum(sum(row.by_others.values()) for row in rows)
    return ("all", "", *(f"{figure:,}" for figure in figures), f"{others:,}")


def data(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the same for programs, with every loss in words."""
    return [
        {
            "name": row.column.name,
            "workers": row.column.title,
            "promised": row.column.promise,
            "scale_ins": row.scale_ins,
            "stopped": row.stopped,
            "done": row.done,
            "unfinished": row.unfinished,
            "by_scale_in": row.by_scale_in,
            "broken": len(row.broken),
            "by_others": {cause.name.lower(): n for cause, n in row.by_others.items()},
            "losses": [loss.words for loss in row.losses if loss.words],
        }
        for row in rows
    ]


def broken(rows: Sequence[Row]) -> list[str]:
    """Say which promises are broken, and what was left undone."""
    said = [f"{row.column.name}: {loss.words}" for row in rows for loss in row.broken]
    return said + [
        f"{row.column.name}: {row.unfinished} tasks were not done in the end"
        for row in rows
        if row.unfinished
    ]
