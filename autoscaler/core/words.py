"""Numbers in the sentences that people read."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Write a number and what it counts: `1 task`, `1,200 tasks`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
