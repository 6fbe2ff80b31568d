"""Follows what a command prints, line by line."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self


class Following:
    """A command that runs until the end of the block. Each of its lines is read as it comes."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], read: Callable[[str], None]
    ) -> None:
        """Call `read` with each line of standard output, from a thread."""
        self._command = command
        self._environment = environment
        self._read = read

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._read(line)
