"""Sequences of ticks while people, Docker and Temporal change everything around the daemon.

Hypothesis draws a sequence of events. After each, the daemon ticks several times, and every tick is
checked. The whole sequence is run twice: the same world has to lead to the same reports.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.label_values import Busy, Mode, QueueType
from autoscaler.core.model import Ceiling, ServiceId
from autoscaler.core.report import TickReport
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import run_in_virtual_time
from tests.faults.fuzz_inputs import Outcomes, Test
from tests.faults.fuzz_world import GROUP, NAMES, Checked, World

Event = tuple[Any, ...]
"""What happens, to what, and details."""

GAPS = (0.5, 5, 19, 70)
"""Seconds before each of the ticks after an event. In the last of them nobody looked."""
TICKS = 2 * 5 * len(GAPS)
"""Ticks for each sequence that is drawn, about."""
QUEUES = ("orders", "mails")
NO_ENGINE = OrchestratorError("no engine")

RIGHT_LABELS = st.fixed_dictionaries(
    {
        "temporal.queue": st.sampled_from(["orders", "mails", "orders,mails"]),
        "temporal.scale-in.window": st.sampled_from(["0s", "0s", "0s", "1m"]),
    },
    optional={
        "temporal.target": st.sampled_from(["1", "10"]),
        "temporal.min": st.sampled_from(["0", "0", "2"]),
        "temporal.max": st.sampled_from(["3", "8"]),
        "temporal.mode": st.sampled_from(["on", "on", *Mode]),
        "temporal.busy": st.sampled_from(list(Busy)),
        "temporal.cooldown": st.sampled_from(["0s", "1m"]),
        "temporal.scale-out.window": st.sampled_from(["0s", "10s"]),
        "temporal.scale-out.limit": st.sampled_from(["1/10s", "100%/15s"]),
        "temporal.scale-in.limit": st.sampled_from(["1/10s", "50%/15s"]),
        "temporal.group": st.just(GROUP),
        "temporal.priority": st.sampled_from(["0", "5"]),
        "temporal.weight": st.sampled_from(["1", "2"]),
        "temporal.slots-target": st.sampled_from(["50%", "80%"]),
        "temporal.fallback": st.sampled_from(["hold", "0", "at-least 5"]),
        "temporal.fallback.after": st.sampled_from(["0s", "1m"]),
    },
)
WRONG_LABELS = st.sampled_from(
    [{}, {"temporal.queue": ""}, {"temporal.queue": "orders", "temporal.max": "many"}]
)
LABELS = RIGHT_LABELS | RIGHT_LABELS | RIGHT_LABELS | WRONG_LABELS
QUEUE = st.sampled_from(QUEUES)
SERVICE = st.sampled_from(NAMES)
FEW = st.integers(0, 9)
HOSTS = st.sets(st.builds("{}-{}".format, SERVICE, st.integers(1, 4)), max_size=6).map(sorted)
WAITING = st.sampled_from([0, 0, 1, 7, 30, 1000])
EVENTS = st.one_of(
    st.tuples(st.just("relabel"), SERVICE, LABELS),
    st.tuples(st.just("scale by hand"), SERVICE, FEW),
    st.tuples(st.just("fill"), QUEUE, WAITING),
    st.tuples(st.just("fill"), QUEUE, WAITING),
    st.tuples(st.just("cannot be read"), QUEUE),
    st.tuples(st.just("wait for a turn"), QUEUE),
    st.tuples(st.just("run tasks"), HOSTS),
    st.tuples(st.just("run tasks"), HOSTS),
    st.tuples(st.just("report nothing"), st.booleans()),
    st.tuples(st.just("heartbeats fail"), st.sampled_from([None, "no answer"])),
    st.tuples(st.just("engine fails"), st.sampled_from([None, NO_ENGINE])),
    st.tuples(st.just("changes fail"), SERVICE, st.booleans()),
    st.tuples(st.just("changes take long"), SERVICE, st.booleans()),
    st.tuples(st.just("come or go"), SERVICE, st.booleans()),
    st.tuples(st.just("crash"), SERVICE, st.sampled_from([None, 10, 300])),
    st.tuples(st.just("refuse"), SERVICE, st.sampled_from([None, "a rollout is under way"])),
    st.tuples(st.just("limit"), SERVICE, st.sampled_from([None, 0, 1, 4])),
    st.tuples(st.just("drain"), SERVICE, FEW),
    st.tuples(st.just("leave behind"), SERVICE, FEW),
    st.tuples(st.just("let time pass"), st.sampled_from([-3600, -1, 600, 90_000])),
    st.tuples(st.just("restart the daemon")),
)


def of_ticks(outcomes: Outcomes, _: Path) -> Test:
    """Try sequences of events, with several ticks after each."""

    @given(st.fixed_dictionaries(dict.fromkeys(NAMES, LABELS)), st.lists(EVENTS, min_size=1))
    def test(labels: dict[str, dict[str, str]], events: list[Event]) -> None:
        first, second = (run_in_virtual_time(live(labels, events)) for _ in range(2))
        assert first == second, "the same world led to other reports"
        for report in (*first, *second):
            changes = any(service.action is not None for service in report.services)
            outcomes["ticks with changes" if changes else "ticks without changes"] += 1

    return test


async def live(labels: dict[str, dict[str, str]], events: list[Event]) -> list[TickReport]:
    """Let everything happen, with several ticks after each event; return their reports."""
    world = World(labels)
    for event in events:
        await happen(world, event)
        for gap in GAPS:
            world.clock.advance(gap)
            await world.tick()
    await world.end_changes()
    # What went wrong in the last changes is in the report of one more tick.
    await world.tick()
    await world.end_changes()
    return world.reports


async def happen(world: World, event: Event) -> None:
    """Let one event happen. Events of services that are gone change nothing."""
    match event:
        case "engine fails", error:
            world.compose.unreachable = error
        case "let time pass", seconds:
            world.clock.advance(seconds)
        case ("restart the daemon",):
            await world.end_changes()
            world.start_daemon()
        case "come or go", name, there:
            await world.end_changes()
            come_or_go(world, world.ids[name], there=there)
        case what, name, detail if name in NAMES:
            orchestrator = world.orchestrator(name)
            if world.ids[name] not in orchestrator.services:
                return
            if what == "crash":
                crash(world, orchestrator, world.ids[name], detail)
            else:
                happen_to_service(orchestrator, world.ids[name], what, detail)
        case what, *details:
            happen_to_temporal(world.source, what, *details)


def come_or_go(world: World, id_: ServiceId, *, there: bool) -> None:
    """Remove a service, or put it back as it was."""
    services = world.orchestrator(id_.name).services
    if there and id_ in world.gone:
        services[id_] = world.gone.pop(id_)
    elif not there and id_ in services:
        world.gone[id_] = services.pop(id_)


def happen_to_temporal(source: FakeBacklogSource, what: str, *details: Any) -> None:
    """Let something happen to the task queues or the workers."""
    match what, *details:
        case "fill", queue, waiting:
            source.fill(queue, waiting)
            source.fill(queue, waiting // 2, QueueType.ACTIVITY)
            source.waiting_for_a_turn.discard(queue)
        case "cannot be read", queue:
            source.fail(queue, "Temporal does not answer")
        case "wait for a turn", queue:
            source.waiting_for_a_turn.add(queue)
        case "run tasks", hosts:
            source.running = dict.fromkeys(hosts, 1)
        case "report nothing", mute:
            source.mute = mute
        case "heartbeats fail", why:
            source.heartbeats_fail = why


def crash(world: World, orchestrator: Checked, id_: ServiceId, pause: int | None) -> None:
    """Let half of the replicas end by themselves; they are started again after `pause` seconds."""
    retry_at = None if pause is None else world.clock() + timedelta(seconds=pause)
    left = orchestrator.count(id_) // 2
    orchestrator.crash(id_, "a replica ended by itself", left, retry_at)


def happen_to_service(orchestrator: Checked, id_: ServiceId, what: str, detail: Any) -> None:
    """Let something happen to a service that is there."""
    service = orchestrator.services[id_]
    match what:
        case "relabel":
            orchestrator.relabel(id_, detail)
        case "scale by hand":
            orchestrator.scale_by_hand(id_, detail)
        case "changes fail":
            orchestrator.fail(id_, NO_ENGINE)
            if not detail:
                orchestrator.heal(id_)
        case "changes take long":
            gate = orchestrator.hold(id_)
            gate.clear() if detail else gate.set()
        case "refuse":
            orchestrator.services[id_] = replace(service, refusal=detail)
        case "limit":
            ceiling = None if detail is None else Ceiling(detail, "published ports")
            orchestrator.services[id_] = replace(service, ceiling=ceiling)
        case "drain":
            orchestrator.drain(id_, detail)
        case "leave behind":
            orchestrator.leave_behind(id_, detail)
