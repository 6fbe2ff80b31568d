"""Numbers in the sentences that people read."""

from __future__ import annotations


def figure(value: int) -> str:
    """Write a number: `12`, `1,200`. What a label says is quoted as it is there instead."""
    return f"{value:,}"


def counted(count: int, thing: str) -> str:
    """Write a number and what it counts: `1 task`, `1,200 tasks`."""
    return f"{figure(count)} {thing if count == 1 else f'{thing}s'}"


def agreeing(count: int, one: str, several: str) -> str:
    """Return the form of a verb that goes with so many things: `is` or `are`."""
    return one if count == 1 else several


def size(count: int) -> str:
    """Write bytes: `512 B`, `100 MiB`, `1.5 GiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if round(abs(value)) < 1024:  # noqa: PLR2004 - the next unit begins there
            break
        value, unit = value / 1024, larger
    digits = 1 if unit != "B" and abs(value) < 10 and round(value, 1) != round(value) else 0  # noqa: PLR2004
    return f"{value:,.{digits}f} {unit}"
