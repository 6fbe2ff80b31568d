"""Schedules through whole ticks: a week with a change of clocks, a restart, a service at rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.reconcile import Reconciler
from tests.fakes.wishes import by_labels
from tests.unit.builders import DAY, HOUR, MINUTE, SECOND
from tests.unit.test_reconcile import World, of

LOOK = 5 * MINUTE
OFFICE = "mon-fri 07:30-19:00 min=5 max=40"
LABELS = {
    "temporal.queue": "orders",
    "temporal.scale-in.window": "0s",
    "temporal.schedule": f"{OFFICE}; sat 22:00-06:00 min=3; sun 02:30-04:00 max=20",
}
FRIDAY = datetime(2027, 1, 8, tzinfo=UTC)


def expected(wall: datetime) -> tuple[int, int]:
    """Return min and max of LABELS while a clock shows a time, said in another way."""
    day, time = f"{wall:%a}", f"{wall:%H:%M}"
    if day not in ("Sat", "Sun") and "07:30" <= time < "19:00":
        return 5, 40
    night = (day == "Sat" and time >= "22:00") or (day == "Sun" and time < "06:00")
    early = day == "Sun" and "02:30" <= time < "04:00"
    return (3 if night else 1), (20 if early else 10)


def world_at(now: datetime, *, looks_every: timedelta = LOOK) -> World:
    made = World(interval=looks_every.total_seconds())
    made.clock.now = now
    return made


def restarted(world: World) -> None:
    """Let another daemon go on with the services of this one."""
    world.reconciler = Reconciler(
        [world.compose, world.swarm],
        world.source,
        by_labels(),
        clock=world.clock,
        interval=LOOK,
    )


WEEKS = [
    pytest.param(ZoneInfo(zone), datetime.fromisoformat(change), id=f"{zone}-{change}")
    for zone, change in (
        ("Europe/Berlin", "2027-03-28"),
        ("Europe/Berlin", "2027-10-31"),
        ("America/New_York", "2027-03-14"),
        ("America/New_York", "2027-11-07"),
    )
]


@pytest.mark.parametrize(("zone", "change"), WEEKS)
async def test_a_week_in_which_the_clocks_change(zone: ZoneInfo, change: datetime) -> None:
    begin = (change - 3 * DAY).replace(tzinfo=zone).astimezone(UTC)
    world = world_at(begin)
    worker = world.compose.add("shop/worker", LABELS | {"temporal.timezone": str(zone)})
    while world.clock.now < begin + 7 * DAY:
        report = await world.report(worker, after=LOOK.total_seconds())
        wall = world.clock.now.astimezone(zone)
        assert (report.min, report.max) == expected(wall), wall
        await world.finish()
        assert world.compose.count(worker) == report.min, wall
        if wall.hour % 7 == 0:
            restarted(world)


class TestTheDaemonsZone:
    async def test_it_counts_where_the_label_names_none(self) -> None:
        world = world_at(FRIDAY + 7 * HOUR)
        tokyo = world.compose.add("shop/tokyo", LABELS | {"temporal.timezone": "Asia/Tokyo"})
        utc = world.compose.add("shop/utc", LABELS)
        tick = await world.tick()
        assert (of(tick, tokyo).min, of(tick, utc).min) == (5, 1)


class TestAServiceAtRest:
    """What a tick takes over from the one before ends where a window begins or closes."""

    @pytest.fixture
    def world(self) -> World:
        return world_at(FRIDAY + 7.5 * HOUR - 3 * SECOND, looks_every=SECOND)

    @pytest.fixture
    def worker(self, world: World) -> ServiceId:
        return world.compose.add("shop/worker", LABELS)

    async def test_it_is_decided_again_in_the_second_a_window_begins(
        self, world: World, worker: ServiceId
    ) -> None:
        seen = [of(await world.tick(after=1, anew=False), worker).min for _ in range(4)]
        assert seen == [1, 1, 5, 5]

    async def test_before_that_it_is_left_at_rest(self, world: World, worker: ServiceId) -> None:
        first = of(await world.tick(after=0, anew=False), worker)
        assert of(await world.tick(after=1, anew=False), worker) is first


class TestTheReport:
    async def test_it_tells_the_next_change(self) -> None:
        world = world_at(FRIDAY + 8 * HOUR)
        worker = world.compose.add("shop/worker", LABELS)
        report = await world.report(worker)
        assert report.next_bounds is not None
        assert report.next_bounds.at == FRIDAY + 19 * HOUR
        assert report.next_bounds.bounds == (1, 10)

    async def test_a_service_without_a_schedule_has_none(self) -> None:
        world = world_at(FRIDAY)
        worker = world.compose.add("shop/worker", {"temporal.queue": "orders"})
        assert (await world.report(worker)).next_bounds is None

    async def test_wrong_labels_keep_the_last_schedule(self) -> None:
        world = world_at(FRIDAY + 6 * HOUR)
        worker = world.compose.add("shop/worker", LABELS)
        await world.settle()
        world.compose.relabel(worker, LABELS | {"temporal.schedule": "now and then"})
        report = await world.report(worker, after=2 * 3600)
        assert report.min == 5
        assert "'and' is no time of the day" in report.errors[0]


class TestAnotherTime:
    async def test_a_plan_follows_the_schedules_of_another_time(self) -> None:
        world = world_at(FRIDAY + 3 * HOUR)
        worker = world.compose.add("shop/worker", LABELS)
        monday = FRIDAY + 3 * DAY + 12 * HOUR
        report = of(await world.reconciler.tick(act=False, scheduled_at=monday), worker)
        assert (report.min, report.max, report.desired) == (5, 40, 5)
        assert report.next_bounds is not None
        assert report.next_bounds.at == FRIDAY + 3 * DAY + 19 * HOUR
        assert str(report.reasons[-1]) == "5 (min, schedule mon-fri 07:30-19:00)"
        assert world.compose.count(worker) == 1
