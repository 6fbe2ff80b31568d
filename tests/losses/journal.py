"""What the workers write down: which attempts began, and which ended well. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.losses.ledger import Begun


def attempts_in(host: str, journal: str) -> Sequence[Begun]:
    """Read the journal of a host. A line that its worker was killed over counts for nothing."""
    attempts: list[Begun] = []
    open_: dict[str, int] = {}
    for line in journal.splitlines(keepends=True):
        words = line.split()
        if len(words) != 3 or not line.endswith("\n"):
            continue
        what, task, at = words[0], words[1], float(words[2])
        if what == "begun":
            open_[task] = len(attempts)
            attempts.append(Begun(task, host, at))
        elif task in open_:
            number = open_.pop(task)
            attempts[number] = replace(attempts[number], ended=at)
    return attempts
