"""What a process holds: memory, threads, sockets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds at one moment."""

    memory: float
    """Resident, in MiB."""
    threads: int
    sockets: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Look at a process. Raises FileNotFoundError where there is none."""
        status = Path(f"/proc/{pid}/status").read_text()
        figures = dict(re.findall(r"(?m)^(VmRSS|Threads):\s+(\d+)", status))
        sockets = sum(target.startswith("socket:") for target in _open_files(pid))
        return cls(int(figures["VmRSS"]) / 1024, int(figures["Threads"]), sockets)

    def __str__(self) -> str:
        return f"{self.memory:.1f} MiB, {self.threads} threads, {self.sockets} sockets"


def _open_files(pid: int) -> Iterator[str]:
    folder = Path(f"/proc/{pid}/fd")
    for entry in list(folder.iterdir()):
        try:
            yield str(entry.readlink())
        except FileNotFoundError:
            continue  # Closed since it was listed.
