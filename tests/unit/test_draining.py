"""Replicas that drain: their workers are asked, and what was decided is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.core.drain import Drain, Fate
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import ServiceId
from autoscaler.core.report import ServiceReport
from tests.fakes.clock import START
from tests.unit.test_reconcile import ORDERS, World, of

GRACE = timedelta(seconds=30)
AT_ONCE = ORDERS | {"temporal.scale-in.window": "0s"}


class Site:
    """A service with two replicas, and a third that was told to stop."""

    def __init__(self, labels: Mapping[str, str] = AT_ONCE) -> None:
        self.world = World()
        self.compose, self.source = self.world.compose, self.world.source
        self.worker = self.compose.add("shop/worker", labels, replicas=2)
        self.source.fill("orders", 20)
        self.drain = Drain("id3", "shop-worker-3", self.worker, START, GRACE, "r3")
        self.compose.leave(self.drain)
        self.source.leaving = {"r3"}

    async def report(self, *, after: float = 60, act: bool = True) -> ServiceReport:
        return of(await self.world.tick(after=after, act=act), self.worker)

    def fates(self, report: ServiceReport) -> list[Fate]:
        return [verdict.fate for verdict in report.drains]


@pytest.fixture
def site() -> Site:
    return Site()


async def test_while_nothing_drains_no_worker_is_asked(site: Site) -> None:
    site.compose.kill(site.drain)
    await site.report()
    assert site.source.asked == []


async def test_all_that_drain_take_one_question(site: Site) -> None:
    other = site.compose.add("shop/other", AT_ONCE)
    site.compose.leave(Drain("id9", "shop-other-9", other, START, GRACE, "r9"))
    await site.report(after=10)
    draining = [query.hosts for query in site.source.asked if "r3" in query.hosts]
    assert draining == [frozenset({"r3", "r9"})]


async def test_within_its_grace_it_is_followed_and_nothing_is_told(site: Site) -> None:
    report = await site.report(after=10)
    assert (report.draining, report.drains) == (1, ())
    assert (site.compose.taken_up, site.compose.killed) == (["id3"], [])


async def test_running_tasks_are_finished_and_words_say_so(site: Site) -> None:
    site.source.running["r3"] = 2
    report = await site.report(after=30 + 240)
    (verdict,) = report.drains
    assert verdict.text == "shop-worker-3: draining, 2 tasks running, 4m beyond its grace"
    assert site.compose.killed == []


async def test_one_that_runs_nothing_is_killed(site: Site) -> None:
    assert site.fates(await site.report()) == [Fate.KILL]
    assert site.compose.killed == ["id3"]


async def test_its_drain_is_that_of_its_label() -> None:
    site = Site(AT_ONCE | {"temporal.drain": "5m"})
    site.source.running["r3"] = 1
    assert site.fates(await site.report(after=30 + 299)) == [Fate.FINISH]
    assert site.fates(await site.report(after=1)) == [Fate.KILL]


async def test_a_plan_comes_to_the_same_and_does_nothing(site: Site) -> None:
    assert site.fates(await site.report(act=False)) == [Fate.KILL]
    assert (site.compose.taken_up, site.compose.killed) == ([], [])


@pytest.mark.parametrize("mode", ["off", "dry-run"])
async def test_where_the_service_is_not_to_be_changed_nothing_is_done(mode: str) -> None:
    site = Site(AT_ONCE | {"temporal.mode": mode})
    await site.report()
    assert (site.compose.taken_up, site.compose.killed) == ([], [])


async def test_nor_while_somebody_else_is_at_work_on_it(site: Site) -> None:
    service = site.compose.services[site.worker]
    site.compose.services[site.worker] = replace(service, refusal="somebody else is at work")
    await site.report()
    assert (site.compose.taken_up, site.compose.killed) == ([], [])


async def test_where_temporal_cannot_be_asked_it_waits(site: Site) -> None:
    site.source.heartbeats_fail = "Temporal does not answer"
    assert site.fates(await site.report()) == [Fate.FINISH]


async def test_where_its_reports_are_those_of_others_too_it_waits(site: Site) -> None:
    site.compose.leaving = [replace(site.drain, host=None)]
    assert site.fates(await site.report()) == [Fate.FINISH]
    assert site.source.asked == []


async def test_where_its_labels_were_never_right_it_waits() -> None:
    site = Site({"temporal.queue": "orders", "temporal.max": "many"})
    assert site.fates(await site.report()) == [Fate.FINISH]
    assert site.source.asked == []


async def test_where_heartbeats_are_not_to_be_read_its_grace_is_the_end() -> None:
    site = Site(AT_ONCE | {"temporal.busy": "ignore"})
    assert site.fates(await site.report()) == [Fate.KILL]
    assert site.source.asked == []


async def test_one_that_has_reported_and_no_longer_does_may_be_at_work(site: Site) -> None:
    """The server forgets all reports when it restarts."""
    await site.report(after=10)
    site.source.mute = True
    assert site.fates(await site.report()) == [Fate.FINISH]


async def test_an_answer_counts_for_some_seconds(site: Site) -> None:
    for _ in range(6):
        await site.report(after=1)
    assert len(site.source.asked) == 2


class TestIgnoring:
    """The fake workers' reports are always of the future: they go on taking tasks."""

    @pytest.fixture
    def site(self) -> Site:
        site = Site()
        site.source.leaving = set()
        return site

    async def test_it_counts_again_in_the_same_tick(self, site: Site) -> None:
        report = await site.report(after=15)
        assert site.fates(report) == [Fate.TAKE_BACK]
        assert (report.replicas, report.draining) == (3, 0)
        assert (await site.report(after=1)).replicas == 3

    async def test_and_none_of_the_service_is_stopped_any_more(self, site: Site) -> None:
        for _ in range(3):
            report = await site.report(after=90)
        assert (report.desired, site.compose.actions) == (3, [])
        assert str(report.reasons[-1]) == (
            "shop-worker-3 ignores its stop signal, so none is stopped → keeps 3"
        )
        (warning,) = [each for each in report.warnings if "goes on taking tasks" in each]
        assert "set `init: true` in the Compose file" in warning

    async def test_but_it_grows(self, site: Site) -> None:
        site.source.fill("orders", 60)
        await site.report(after=15)
        await site.world.until(site.worker, 6)

    async def test_a_plan_counts_it_as_well(self, site: Site) -> None:
        report = await site.report(after=15, act=False)
        assert (report.replicas, report.draining) == (3, 0)


async def test_a_drain_of_a_service_that_is_gone_is_nobodys(site: Site) -> None:
    site.compose.leaving = [replace(site.drain, service=ServiceId("compose", "shop/gone"))]
    assert (await site.report()).drains == ()
    assert site.source.asked == []


async def test_one_service_that_fails_does_not_keep_another_from_its_end(site: Site) -> None:
    other = site.compose.add("shop/another", AT_ONCE)
    site.compose.fail(other, OrchestratorError("no engine"))
    await site.report()
    assert site.compose.killed == ["id3"]
