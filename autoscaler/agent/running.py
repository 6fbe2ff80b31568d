"""The process of an agent, from its start to SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from autoscaler.agent.door import Door
from autoscaler.core.redaction import Redactor


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that is ready to listen."""

    door: Door
    logger: FilteringBoundLogger
    redactor: Redactor

    async def run(self, host: str, port: int) -> int:
        """Listen until SIGTERM or SIGINT; return the exit code of the process.

        A container that is being stopped needs no agent: its engine ends what it has begun.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        try:
            server = await self.door.open(host, port)
        except OSError as error:
            self.logger.error(  # noqa: TRY400 - a traceback would tell users nothing
                "agent unavailable",
                error=f"cannot listen on {host}:{port} ({error.strerror}): free it",
            )
            return 1
        self.logger.info("agent listening", port=server.sockets[0].getsockname()[1])
        await stopping.wait()
        server.close()
        return 0
