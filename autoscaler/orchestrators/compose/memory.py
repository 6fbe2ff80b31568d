"""The memory of the engine's host: how much is free, and what replicas of Compose services take."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.findings import HOST, Finding, Outcome
from autoscaler.core.host_memory import MEMORY, HostMemory
from autoscaler.core.model import ServiceId
from autoscaler.core.sizes import Reserve
from autoscaler.core.words import size
from autoscaler.orchestrators.compose.consumption import DEADLINE, REFUSALS, Consumption
from autoscaler.orchestrators.compose.containers import Replicas
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.compose.recipe import Traits
from autoscaler.orchestrators.engine import GONE, Engine, EngineError

MEMINFO = Path("/proc/meminfo")

GROWS_FOR = timedelta(minutes=5)
"""How long after its start a replica counts with what it will take rather than what it uses."""
GROWS_UNSEEN_FOR = timedelta(minutes=1)
"""The same where nobody can read what it uses: all that it has taken by then is counted twice."""
SHOWN_AFTER = timedelta(seconds=30)
"""How long a replica has to run before it has shown what it takes."""
UNSHOWN = 256 * 2**20
"""Bytes that a replica counts with at least while no replica of its service has shown what it
takes; its limit where that is less. Otherwise many would be started for the size of a process that
has only just begun."""
TOTAL_HOLDS = timedelta(minutes=1)
"""How long the engine's word on the size of the host's memory counts."""

_LINE = re.compile(r"(MemTotal|MemAvailable):\s+(\d+) kB")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What replicas of one version of a service were seen to use."""

    version: str
    most: int
    """Bytes."""
    for_sure: bool
    """Whether one that has run for a while is among them."""


@dataclass(frozen=True, slots=True)
class _Host:
    total: int
    available: int | None
    """What programs can still take; None where this process runs on another host."""


class EngineHost:
    """Knows the memory of the host that the engine runs on."""

    def __init__(
        self,
        engine: Engine,
        inventory: Inventory,
        reserve: Reserve,
        clock: Callable[[], datetime],
        meminfo: Path = MEMINFO,
    ) -> None:
        """Leave `reserve` free; `inventory` lists the containers, `meminfo` is read for the host's.

        The inventory is not asked to list anything anew: its latest list counts.
        """
        self._engine = engine
        self._inventory = inventory
        self._reserve = reserve
        self._clock = clock
        self._meminfo = meminfo
        self._consumption = Consumption(engine)
        self._total: int | None = None
        self._asked_at: datetime | None = None
        self._unverified: str | None = None
        """Why the engine did not say how much memory its host has."""
        self._without_cgroups = False
        """Whether the engine said that it has no cgroups. Its statistics are of no container then:
        each answer is of all processes together (rootless Docker 28.5, measured 2026-11)."""
        self._shown: dict[ServiceId, _Shown] = {}
        self._costless: tuple[ServiceId, ...] = ()
        """Services that wanted to grow, and of which nobody knows what a replica takes."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not known of the host's memory, each with what to do."""
        found = []
        if self._unverified is not None:
            found.append(
                f"nobody can tell how much memory the engine's host has ({self._unverified}):"
                " that of this machine counts; let the proxy before the socket pass GET /info"
            )
        if self._unread is not None:
            because, remedy = self._unread
            found.append(
                f"nobody can tell what replicas use ({because}): what is reserved for them counts,"
                f" or else their limit; {remedy}"
            )
        found += (
            f"nobody knows how much memory a replica of {service} takes, so it is not counted;"
            " set its mem_reservation or mem_limit"
            for service in self._costless
        )
        return tuple(found)

    @property
    def _unread(self) -> tuple[str, str] | None:
        """Why nobody can tell what containers use, and what to do; None where it can be read."""
        if self._without_cgroups:
            return "the engine has no cgroups", "see docs/engines.md"
        if self._consumption.refusal is not None:
            remedy = "let the proxy before the socket pass GET /containers/<id>/stats"
            return self._consumption.refusal, remedy
        return None

    async def memory(
        self, services: Collection[ServiceId], growing: Collection[ServiceId]
    ) -> HostMemory | None:
        """Return how much there is, and what replicas of `services` take.

        Where none is `growing`, nobody reads what containers use: costs are left out, and there is
        no answer where free memory could not be told without. None also means that it cannot be
        known at all here. Raises OrchestratorError where it could not be read for now.
        """
        host = await self._host()
        groups = {id_: each for id_, each in self._inventory.groups.items() if id_ in services}
        self._forget_all_but(groups)
        if host is None:
            return None
        reserve = self._reserve.of(host.total)
        if not growing:
            if host.available is None:
                return None
            return HostMemory(host.total, host.available, reserve)
        used = await self._used(groups.values(), everywhere=host.available is None)
        traits = {id_: await self._traits(each) for id_, each in groups.items()}
        self._note_shown(groups, used)
        costs = {id_: cost for id_ in groups if (cost := self._cost(id_, traits[id_])) is not None}
        self._costless = tuple(sorted(each for each in growing if each not in costs))
        # It is read last: what has been taken meanwhile counts.
        free = await self._free(groups, costs, used)
        return HostMemory(
            host.total,
            free,
            reserve,
            costs,
            {id_: len(each.running) for id_, each in groups.items()},
            self._still_to_take(groups, costs, used),
        )

    async def examine(self) -> Finding:
        """Say what is known of the host's memory."""
        try:
            host = await self._host()
        except EngineError as error:
            return Finding(HOST, Outcome.WRONG, f"{MEMORY} is unknown: {error}")
        if host is None:
            return Finding(
                HOST,
                Outcome.WARNING,
                f"{MEMORY} cannot be known here, so it holds back no growth; let the proxy before"
                " the socket pass GET /info",
            )
        there = (
            f"{size(host.total)} on another host than this; what no container uses is free"
            if host.available is None
            else f"{size(host.available)} of {size(host.total)} free"
        )
        reserve = size(self._reserve.of(host.total))
        return Finding(HOST, Outcome.OK, f"{MEMORY}: {there}; growth on Compose leaves {reserve}")

    # ------------------------------------------------------------------ the host

    async def _host(self) -> _Host | None:
        """Return what is known of the host; None where nothing is. Raises EngineError."""
        here = self._read_meminfo()
        await self._ask_for_total()
        if self._total is None:
            return here
        if here is not None and here.total == self._total:
            return here
        return _Host(self._total, None)

    async def _ask_for_total(self) -> None:
        """Ask the engine how much memory its host has, from time to time."""
        now = self._clock()
        if self._asked_at is not None and timedelta() <= now - self._asked_at < TOTAL_HOLDS:
            return
        try:
            async with asyncio.timeout(DEADLINE):
                info = await self._engine.call("asking for the engine's host", lambda it: it.info())
        except TimeoutError as error:
            raise EngineError(
                f"{self._engine.product} did not say within {DEADLINE:g} s how much memory its host"
                " has; check that it is healthy"
            ) from error
        except EngineError as error:
            if error.status not in REFUSALS:
                raise
            self._total, self._unverified = None, str(error)
        else:
            self._total, self._unverified = info.get("MemTotal") or None, None
            self._without_cgroups = info.get("CgroupDriver") == "none"
        self._asked_at = now

    def _read_meminfo(self) -> _Host | None:
        """Return the memory of this machine; None where it has no such file, or an odd one."""
        text = ""
        with contextlib.suppress(OSError):
            text = self._meminfo.read_text(encoding="ascii", errors="replace")
        found = {name: int(kibibytes) * 1024 for name, kibibytes in _LINE.findall(text)}
        if len(found) < 2:  # noqa: PLR2004 - both are needed
            return None
        return _Host(found["MemTotal"], found["MemAvailable"])

    async def _free(
        self,
        groups: Mapping[ServiceId, Replicas],
        costs: Mapping[ServiceId, int],
        used: Mapping[str, int],
    ) -> int:
        host = await self._host()
        if host is None:
            raise OrchestratorError("it could be read a moment ago, and cannot now")
        if host.available is not None:
            return host.available
        if self._unread is None:
            return host.total - sum(used.values())
        return host.total - sum(
            costs.get(id_, 0) * len(each.running) for id_, each in groups.items()
        )

    # ------------------------------------------------------------------ replicas

    async def _used(self, groups: Collection[Replicas], *, everywhere: bool) -> Mapping[str, int]:
        """Return what the replicas of services use, or all containers of the engine."""
        if self._without_cgroups:
            return {}
        replicas = [each.id for group in groups for each in group.running]
        wanted = self._inventory.all_running if everywhere else replicas
        return await self._consumption.read(wanted, self._clock(), all_of_them=everywhere)

    async def _traits(self, replicas: Replicas) -> Traits | None:
        """Return what the Compose file says of a service's replicas; None where they are gone."""
        try:
            return await self._inventory.traits(replicas.template)
        except EngineError as error:
            if error.status not in GONE:
                raise
            return None

    def _note_shown(self, groups: Mapping[ServiceId, Replicas], used: Mapping[str, int]) -> None:
        """Remember the most that replicas of the present version of each service have used."""
        for service, replicas in groups.items():
            version = replicas.template.version
            seen = [
                (used[each.id], self._inventory.ran_for(each) >= SHOWN_AFTER)
                for each in replicas.running
                if each.id in used and each.version == version
            ]
            before = self._shown.get(service)
            if before is not None and before.version == version:
                seen.append((before.most, before.for_sure))
            if seen:
                self._shown[service] = _Shown(
                    version,
                    most=max(most for most, _ in seen),
                    for_sure=any(for_sure for _, for_sure in seen),
                )

    def _cost(self, service: ServiceId, traits: Traits | None) -> int | None:
        """Return what a replica takes: as reserved, else as seen, else its limit."""
        if traits is not None and traits.memory_reservation is not None:
            return traits.memory_reservation
        limit = None if traits is None else traits.memory_limit
        shown = self._shown.get(service)
        if shown is None:
            return limit
        if shown.for_sure:
            return shown.most
        return max(shown.most, UNSHOWN if limit is None else min(limit, UNSHOWN))

    def _still_to_take(
        self,
        groups: Mapping[ServiceId, Replicas],
        costs: Mapping[ServiceId, int],
        used: Mapping[str, int],
    ) -> int:
        """Return what replicas that have just been started will take beyond what they use."""
        return sum(
            max(0, costs[service] - used.get(each.id, 0))
            for service, replicas in groups.items()
            if service in costs
            for each in replicas.running
            if self._inventory.ran_for(each) < (GROWS_FOR if each.id in used else GROWS_UNSEEN_FOR)
        )

    def _forget_all_but(self, services: Collection[ServiceId]) -> None:
        self._shown = {id_: each for id_, each in self._shown.items() if id_ in services}
        self._costless = tuple(id_ for id_ in self._costless if id_ in services)
