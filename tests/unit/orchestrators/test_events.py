"""The engine's events: each one is a change, and a stream that breaks off is opened again."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from autoscaler.orchestrators.engine import EngineError, Json
from autoscaler.orchestrators.events import EngineEvents, Past, past_events
from tests.fakes.clock import Clock, run_in_virtual_time


class Streams:
    """An engine whose event streams end one after the other; the last one never does."""

    def __init__(self, *streams: list[dict[str, Any]] | EngineError) -> None:
        self._streams = list(streams)
        self.opened: list[tuple[float, int | None]] = []
        """When each stream was asked for, and since when."""

    async def events(
        self,
        _filters: Mapping[str, Sequence[str]],
        since: int | None,
        began: Callable[[], None],
        happened: Callable[[dict[str, Any]], None],
    ) -> None:
        self.opened.append((asyncio.get_running_loop().time(), since))
        if not self._streams:
            await asyncio.sleep(10**6)
            return
        stream = self._streams.pop(0)
        if isinstance(stream, EngineError):
            raise stream
        began()
        for event in stream:
            happened(event)


class Listener:
    """Writes down what it is told, and asks for another look after `pause`."""

    def __init__(self, pause: timedelta | None = None) -> None:
        self.told: list[Any] = []
        self._pause = pause

    def stream_began(self) -> None:
        self.told.append("began")

    def stream_ended(self) -> None:
        self.told.append("ended")

    def happened(self, event: dict[str, Any]) -> timedelta | None:
        self.told.append(event["time"])
        return self._pause


def watch(engine: Streams, *listeners: Listener) -> list[float]:
    """Watch an engine for some minutes, and return when changes were reported."""
    changes: list[float] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        events = EngineEvents(engine, Clock(), listeners)  # type: ignore[arg-type]
        watching = asyncio.create_task(events.watch(lambda: changes.append(loop.time())))
        await asyncio.sleep(600)
        assert not watching.done()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    run_in_virtual_time(work())
    return changes


def test_every_event_is_a_change_and_so_is_a_stream_that_opens() -> None:
    assert watch(Streams([{"time": 100}, {"time": 101}])) == [0, 0, 0]


def test_every_listener_is_told_of_every_event_and_whether_events_arrive() -> None:
    first, second = Listener(), Listener()
    watch(Streams([{"time": 100}, {"time": 101}], EngineError("no engine"), []), first, second)
    assert first.told == ["began", 100, 101, "ended", "ended", "began", "ended"]
    assert second.told == first.told


def test_a_listener_may_ask_for_another_look_after_a_while() -> None:
    assert watch(Streams([{"time": 100}]), Listener(timedelta(seconds=2))) == [0, 0, 2]


def test_only_the_last_of_many_events_leads_to_another_look() -> None:
    engine = Streams([{"time": 100}, {"time": 100}, {"time": 100}])
    assert watch(engine, Listener(timedelta(seconds=2))) == [0, 0, 0, 0, 2]


def test_of_several_listeners_the_longest_pause_counts() -> None:
    engine = Streams([{"time": 100}])
    pauses = [timedelta(seconds=2), None, timedelta(seconds=3)]
    assert watch(engine, *map(Listener, pauses)) == [0, 0, 3]


def test_a_stream_that_ended_is_opened_again_from_the_last_event_on() -> None:
    engine = Streams([{"time": 100}, {"time": 105}], [])
    watch(engine)
    assert engine.opened == [(0, None), (1, 105), (2, 105)]


def test_an_engine_that_does_not_answer_is_tried_less_and_less_often() -> None:
    engine = Streams(*(EngineError("no engine") for _ in range(7)))
    watch(engine)
    assert [moment for moment, _ in engine.opened] == [0, 1, 3, 7, 15, 31, 61, 91]


def test_a_stream_that_opened_forgives_the_failures_before() -> None:
    gone = EngineError("no engine")
    engine = Streams(gone, gone, gone, [], gone)
    watch(engine)
    assert [moment for moment, _ in engine.opened] == [0, 1, 3, 7, 8, 10]


class Remembering:
    """An engine that answers with what it remembers."""

    base_url, api_version, timeout = "http+docker://localhost", "1.41", 60

    def __init__(self, *past: Json) -> None:
        self._past = past
        self.asked: dict[str, str] = {}
        self.headers = {"Date": "Thu, 01 Jan 2026 00:00:07 GMT"}

    async def call(self, _what: str, work: Callable[[Any], Past]) -> Past:
        return work(self)

    def get(
        self, url: str, *, params: dict[str, str] | None = None, timeout: int
    ) -> requests.Response:
        assert timeout == self.timeout
        answer = requests.Response()
        answer.status_code = 200
        if url.endswith("/_ping"):
            answer.headers.update(self.headers)
            return answer
        assert url == "http+docker://localhost/v1.41/events"
        assert params is not None
        self.asked = params
        answer.raw = io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in self._past))
        return answer


async def test_past_events_end_with_the_present_second_of_the_engines_own_clock() -> None:
    engine = Remembering({"time": 100}, {"time": 101})
    past = await past_events(engine, {"event": ["kill"]})  # type: ignore[arg-type]
    assert past.events == [{"time": 100}, {"time": 101}]
    assert past.at == datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)
    assert float(engine.asked["until"]) == past.at.timestamp() + 1
    assert json.loads(engine.asked["filters"]) == {"event": ["kill"]}


async def test_what_stands_before_the_engine_and_has_no_clock_tells_nothing_of_the_past() -> None:
    engine = Remembering()
    engine.headers = {}
    with pytest.raises(EngineError) as caught:
        await past_events(engine, {})  # type: ignore[arg-type]
    assert caught.value.status == 200
