"""What containers use of the host's memory, as the engine's statistics say."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from docker import APIClient

from autoscaler.orchestrators.engine import GONE, Engine, EngineError, Json, Lane, api_url

FRESH = timedelta(seconds=3)
"""How long a reading counts. Memory that was taken since is missed, so it is short."""
DEADLINE = 4.0
"""Seconds that a look waits for readings. What has not come by then counts as not read."""
AGAIN_AFTER_REFUSAL = timedelta(minutes=5)
REFUSALS = (401, 403, 405)
"""HTTP statuses with which a proxy before the socket refuses a call."""

_INACTIVE_FILE = ("total_inactive_file", "inactive_file")
"""What counts the pages of files that the kernel can drop, in version 1 of cgroups and 2."""


@dataclass(frozen=True, slots=True)
class _Reading:
    used: int | None
    at: datetime


class Consumption:
    """Reads what containers use, many at a time, and keeps the latest reading of each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._readings: dict[str, _Reading] = {}
        self._refused_at: datetime | None = None
        self.refusal: str | None = None
        """Why the engine, or a proxy before it, does not let anybody read; None where it does."""

    async def read(
        self, containers: Collection[str], now: datetime, *, all_of_them: bool = False
    ) -> Mapping[str, int]:
        """Return the bytes that containers use, by their ids; what is unknown is absent.

        Raises EngineError where the engine did not answer as it should. That it answered only for
        some before the deadline is an error where `all_of_them` count.
        """
        self._readings = {id_: each for id_, each in self._readings.items() if id_ in containers}
        if self._may_ask(now):
            stale = [id_ for id_ in containers if not self._is_fresh(id_, now)]
            await self._read_anew(stale, now, all_of_them=all_of_them)
        return {
            id_: reading.used for id_, reading in self._readings.items() if reading.used is not None
        }

    def _may_ask(self, now: datetime) -> bool:
        return self._refused_at is None or now - self._refused_at >= AGAIN_AFTER_REFUSAL

    def _is_fresh(self, container: str, now: datetime) -> bool:
        reading = self._readings.get(container)
        return reading is not None and timedelta() <= now - reading.at < FRESH

    async def _read_anew(
        self, containers: Collection[str], now: datetime, *, all_of_them: bool
    ) -> None:
        tasks = [asyncio.create_task(self._read_one(each, now)) for each in containers]
        if not tasks:
            return
        try:
            done, late = await asyncio.wait(tasks, timeout=DEADLINE)
        finally:
            for task in tasks:
                task.cancel()
        errors = [error for task in done if (error := task.exception()) is not None]
        refused = [error for error in errors if _refuses(error)]
        if refused:
            self._refused_at, self.refusal = now, str(refused[0])
            self._readings.clear()
        elif done:
            self._refused_at = self.refusal = None
        for error in errors:
            if not _refuses(error):
                raise error
        if late and (all_of_them or not done):
            raise EngineError(
                f"{self._engine.product} did not say within {DEADLINE:g} s what containers use;"
                " check that it is healthy"
            )

    async def _read_one(self, container: str, now: datetime) -> None:
        def work(client: APIClient) -> Json:
            answer = client.get(
                api_url(client, f"/containers/{container}/stats"),
                params={"stream": "false", "one-shot": "true"},
                timeout=client.timeout,
            )
            answer.raise_for_status()
            found: Json = answer.json()
            return found

        what = f"reading what container {container[:12]} uses"
        try:
            found = await self._engine.call(what, work, Lane.STATISTICS)
        except EngineError as error:
            if error.status not in GONE:
                raise
        else:
            self._readings[container] = _Reading(used_memory(found), now)


def used_memory(statistics: Mapping[str, Any]) -> int | None:
    """Return the bytes that a container uses, by the answer of the engine; None where it is silent.

    That is its working set: what it has, less the pages of files that the kernel can drop. The
    docker command shows the same.
    """
    memory = statistics.get("memory_stats") or {}
    usage = memory.get("usage")
    if not usage:
        return None
    parts = memory.get("stats") or {}
    inactive = next((parts[name] for name in _INACTIVE_FILE if name in parts), 0)
    return int(usage - inactive) if inactive < usage else int(usage)


def _refuses(error: BaseException) -> bool:
    return isinstance(error, EngineError) and error.status in REFUSALS
