"""Resources that a process holds: memory, threads, sockets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of a process at one moment."""

    memory: float
    """Resident, in MiB."""
    threads: int
    sockets: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Read the resources of a process. Raises FileNotFoundError where there is no process."""
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
            continue  # It has been closed since it was listed.
