"""autoscaler agent"""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from autoscaler.app import build_agent
from autoscaler.core.agent_messages import PORT
from autoscaler.settings import Settings
from autoscaler.telemetry.logging import RedactedStream


def agent(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "0.0.0.0",  # noqa: S104 - a container's own network
    port: Annotated[int, typer.Option(help="The daemon expects the default.")] = PORT,
) -> None:
    """Answer the daemon for the engine of this node of a Swarm, until SIGTERM.

    Runs on every node as a global service: see docs/agents.md.
    """
    made = build_agent(Settings.load())
    sys.stderr = RedactedStream(sys.stderr, made.redactor)
    raise typer.Exit(asyncio.run(made.run(host, port)))
