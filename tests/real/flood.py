"""Unsigned requests to an agent, as many a second as one likes, from processes of their own."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from typing import Any, Self

REQUEST = b"POST /state HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
PROCESSES = 2
WAIT = 5.0
"""Seconds that a sender waits for a connection."""


class Flood:
    """Sends while it is open, each request on a connection of its own."""

    def __init__(self, port: int, rate: int, sources: Sequence[str]) -> None:
        """Aim at `rate` requests a second in all, from these addresses of this machine in turn."""
        start = multiprocessing.get_context("spawn")
        self._sent = [start.Value("q", 0) for _ in range(PROCESSES)]
        self._processes: list[BaseProcess] = [
            start.Process(target=_send, args=(port, rate / PROCESSES, sources, sent), daemon=True)
            for sent in self._sent
        ]
        self._from: tuple[float, int] = (0.0, 0)

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return sum(int(each.value) for each in self._sent)

    def measure(self) -> None:
        """Begin to measure the rate."""
        self._from = (time.monotonic(), self.sent)

    @property
    def rate(self) -> float:
        """Requests a second since `measure`."""
        began, before = self._from
        return (self.sent - before) / (time.monotonic() - began)


def _send(port: int, rate: float, sources: Sequence[str], sent: Any) -> None:
    """Send until the process is killed. What was late is sent at once, up to a second's worth."""
    due, tried, then = 0.0, 0, time.monotonic()
    while True:
        now = time.monotonic()
        due, then = min(rate, due + (now - then) * rate), now
        if due < 1:
            time.sleep(1 / rate)
            continue
        due, tried = due - 1, tried + 1
        source = sources[tried % len(sources)]
        try:
            with socket.create_connection(("127.0.0.1", port), WAIT, (source, 0)) as connection:
                connection.sendall(REQUEST)
                sent.value += 1
        except OSError:
            pass
