"""What containers use of the host's memory, and what happens where nobody may read it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from autoscaler.orchestrators.compose import consumption
from autoscaler.orchestrators.compose.consumption import (
    AGAIN_AFTER_REFUSAL,
    FRESH,
    Consumption,
    used_memory,
)
from autoscaler.orchestrators.engine import DOCKER, EngineError, Lane
from tests.fakes.clock import START

T = TypeVar("T")


class Statistics:
    """An engine that tells what containers use."""

    base_url, api_version, timeout = "http://engine", "1.41", 60
    product = DOCKER

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.used: dict[str, int] = {"one": 100, "two": 200}
        self.errors: dict[str, EngineError] = {}
        self.silent: set[str] = set()

    async def call(self, _what: str, work: Callable[[Any], T], lane: Lane) -> T:
        assert lane is Lane.STATISTICS, "a slow answer must not hold up other calls"
        answer = work(self)
        if self.asked[-1] in self.silent:
            await asyncio.Event().wait()
        return answer

    def get(self, url: str, params: dict[str, str], **_: object) -> Statistics:
        assert params == {"stream": "false", "one-shot": "true"}
        self.asked.append(url.split("/")[-2])
        return self

    def raise_for_status(self) -> None:
        error = self.errors.get(self.asked[-1])
        if error is not None:
            raise error

    def json(self) -> dict[str, Any]:
        return {"memory_stats": {"usage": self.used[self.asked[-1]], "stats": {}}}


@pytest.fixture
def engine() -> Statistics:
    return Statistics()


@pytest.fixture
def read(engine: Statistics) -> Consumption:
    return Consumption(engine)  # type: ignore[arg-type]


BOTH = ("one", "two")


class TestWorkingSet:
    @pytest.mark.parametrize("name", ["inactive_file", "total_inactive_file"])
    def test_pages_that_the_kernel_can_drop_do_not_count(self, name: str) -> None:
        statistics = {"memory_stats": {"usage": 500, "stats": {name: 120, "cache": 300}}}
        assert used_memory(statistics) == 380

    def test_the_figure_of_all_cgroups_below_counts_in_version_1(self) -> None:
        parts = {"inactive_file": 1, "total_inactive_file": 120}
        assert used_memory({"memory_stats": {"usage": 500, "stats": parts}}) == 380

    @pytest.mark.parametrize(
        "statistics",
        [{}, {"memory_stats": None}, {"memory_stats": {}}, {"memory_stats": {"usage": 0}}],
        ids=["no-part", "an-empty-part", "no-figures", "not-running"],
    )
    def test_no_figure_is_unknown_and_not_zero(self, statistics: dict[str, Any]) -> None:
        assert used_memory(statistics) is None

    def test_more_to_drop_than_there_is_says_nothing(self) -> None:
        assert used_memory({"memory_stats": {"usage": 5, "stats": {"inactive_file": 9}}}) == 5


class TestReading:
    async def test_each_container_is_read_once(self, read: Consumption, engine: Statistics) -> None:
        assert await read.read(BOTH, START) == {"one": 100, "two": 200}
        assert sorted(engine.asked) == ["one", "two"]

    async def test_a_reading_counts_for_some_seconds(
        self, read: Consumption, engine: Statistics
    ) -> None:
        await read.read(["one"], START)
        await read.read(BOTH, START + FRESH / 2)
        assert engine.asked == ["one", "two"]
        engine.used["one"] = 300
        assert (await read.read(["one"], START + FRESH))["one"] == 300

    async def test_one_that_is_gone_is_left_out(
        self, read: Consumption, engine: Statistics
    ) -> None:
        engine.errors["one"] = EngineError("no such container", 404)
        assert await read.read(BOTH, START, all_of_them=True) == {"two": 200}

    @pytest.mark.parametrize("status", [None, 500, 503])
    async def test_an_error_is_not_taken_for_nothing(
        self, read: Consumption, engine: Statistics, status: int | None
    ) -> None:
        engine.errors["one"] = EngineError("out of order", status)
        with pytest.raises(EngineError, match="out of order"):
            await read.read(BOTH, START)
        assert read.refusal is None


class TestDeadline:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(consumption, "DEADLINE", 0.01)

    async def test_one_slow_answer_does_not_hold_up_the_others(
        self, read: Consumption, engine: Statistics
    ) -> None:
        engine.silent = {"one"}
        assert await read.read(BOTH, START) == {"two": 200}

    async def test_where_all_count_a_missing_one_is_an_error(
        self, read: Consumption, engine: Statistics
    ) -> None:
        engine.silent = {"one"}
        with pytest.raises(EngineError, match="did not say within"):
            await read.read(BOTH, START, all_of_them=True)

    async def test_no_answer_at_all_is_an_error(
        self, read: Consumption, engine: Statistics
    ) -> None:
        engine.silent = {*BOTH}
        with pytest.raises(EngineError, match="did not say within"):
            await read.read(BOTH, START)


class TestRefusal:
    @pytest.fixture(autouse=True)
    def _refuse(self, engine: Statistics) -> None:
        engine.errors = dict.fromkeys(BOTH, EngineError("403 from the proxy", 403))

    async def test_it_is_no_failure(self, read: Consumption) -> None:
        assert await read.read(BOTH, START) == {}
        assert read.refusal == "403 from the proxy"

    async def test_nobody_asks_again_at_once(self, read: Consumption, engine: Statistics) -> None:
        await read.read(BOTH, START)
        engine.asked.clear()
        await read.read(BOTH, START + timedelta(minutes=1))
        assert engine.asked == []

    async def test_it_is_over_when_the_proxy_lets_the_call_pass(
        self, read: Consumption, engine: Statistics
    ) -> None:
        await read.read(BOTH, START)
        engine.errors.clear()
        assert await read.read(BOTH, START + AGAIN_AFTER_REFUSAL) == {"one": 100, "two": 200}
        assert read.refusal is None
