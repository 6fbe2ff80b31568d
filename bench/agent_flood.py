"""How an agent and the daemon's own requests fare in a flood: python bench/agent_flood.py

A process on this machine is the agent, beside this machine's engine. Other processes send it 1,000
requests a second without a signature, from one address or from four. Meanwhile the daemon's side
asks for the state of a container ten times a second, from an address of its own. The table says
what was reached: how many requests were really sent, and how long the daemon waited.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from measure import Row, run_parts
from pydantic import SecretStr
from scale import in_a_swarm

from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.swarm.agents import AgentUnavailable
from tests.real.agent import SECRET, AgentProcess, AgentsAt
from tests.real.flood import Flood
from tests.real.stages import docker
from tests.real.waiting import until_async

RATE = 1000
FLOODS = {
    "at rest": (),
    "flood from one address": ("127.0.0.2",),
    "flood from four addresses": ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"),
}
ASKED = 100
"""Requests of the daemon in each round, ten a second."""
PAUSE = 0.1
NOBODY = "a" * 64


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has shown."""

    sent: float
    """Requests a second that were sent by the flood."""
    waits: list[float]
    """Milliseconds that the daemon waited for each answer."""
    unanswered: int
    """Requests of the daemon without an answer."""
    cpu: float
    """Percent of a core that the agent took."""


def agent(rounds: int) -> list[Row]:
    """Measure the flood, and what it does to the daemon's requests."""
    seen: dict[str, list[Round]] = {name: [] for name in FLOODS}
    with in_a_swarm(), tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        for _ in range(rounds):
            for name, sources in FLOODS.items():
                with AgentProcess(Path(folder), {}) as process:
                    seen[name].append(runner.run(_round(process, sources)))
    rows = []
    for name, found in seen.items():
        rows += [
            Row(f"{name}: requests sent", [each.sent for each in found], "1/s"),
            Row(f"{name}: the daemon's, median", [statistics.median(e.waits) for e in found], "ms"),
            Row(f"{name}: the daemon's, longest", [max(each.waits) for each in found], "ms"),
            Row(f"{name}: of {ASKED} unanswered", [each.unanswered for each in found], "", 0),
            Row(f"{name}: CPU of the agent", [each.cpu for each in found], "% of a core"),
        ]
    return rows


async def _round(process: AgentProcess, sources: tuple[str, ...]) -> Round:
    engine = Engine()
    agents = AgentsAt(engine, SecretStr(SECRET), process.port)
    node = docker("info", "--format={{.Swarm.NodeID}}").strip()
    waits, unanswered = [], 0
    with ExitStack() as stack:
        flood = stack.enter_context(Flood(process.port, RATE, sources)) if sources else None
        if flood is not None:
            await until_async(lambda: flood.sent >= RATE, "a flood")
            flood.measure()
        began, before = time.monotonic(), _cpu(process.pid)
        for _ in range(ASKED):
            asked = time.monotonic()
            try:
                await agents.state(node, "service1", [NOBODY])
            except AgentUnavailable:
                unanswered += 1
            waits.append((time.monotonic() - asked) * 1000)
            await asyncio.sleep(PAUSE)
        sent = 0.0 if flood is None else flood.rate
        cpu = (_cpu(process.pid) - before) / (time.monotonic() - began) * 100
    engine.close()
    return Round(sent, waits, unanswered, cpu)


def _cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


PARTS = {"flood": (agent, 3)}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
