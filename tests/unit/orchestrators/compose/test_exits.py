"""How replicas end: by the daemon, by others, by themselves; and what follows."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from autoscaler.core.model import EndedBy, Ending, ServiceId
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.compose.exits import REMEMBERED, SETTLED, Exit, Exits
from autoscaler.orchestrators.compose.recipe import NUMBER, PROJECT, SERVICE
from tests.fakes.clock import START

WORKER = ServiceId("compose", "shop/worker")
INSTANT = timedelta(microseconds=1)
FIRST_PAUSE = timedelta(seconds=10)
STORY = (
    "shop-worker-{} ended by itself with exit code 3 (no such table); replicas are started again"
    " after {}; see `docker logs shop-worker-{}`"
)


def container(number: int, state: str = "running") -> Container:
    """Describe a replica in some state."""
    return Container(
        id=f"id{number}",
        name=f"shop-worker-{number}",
        service=WORKER,
        number=number,
        config_hash="h",
        created=0.0,
        state=state,
        status=state,
        labels={PROJECT: "shop", SERVICE: "worker", NUMBER: str(number)},
    )


class Watch:
    """The replicas of one service, and the time."""

    def __init__(self) -> None:
        self.exits = Exits(self._read)
        self.now = START
        self.codes: dict[str, int] = {}
        """Exit codes by id; those that are not here are 3."""
        self.out_of_memory = False
        self.reads: list[str] = []

    async def _read(self, container: Container) -> Exit:
        self.reads.append(container.id)
        code = self.codes.get(container.id, 3)
        return Exit(code, self.now, self.out_of_memory, "no such table" if code else "")

    def pass_(self, time: timedelta) -> None:
        self.now += time

    def start(self, number: int) -> None:
        """The daemon starts a replica."""
        self.exits.came_up(WORKER, f"id{number}")
        self.exits.started(WORKER, f"id{number}", self.now)

    def die(self, number: int, *, by_others: bool = False) -> None:
        """The event of an end arrives."""
        self.exits.died(WORKER, f"id{number}", self.now, by_others=by_others)

    async def look(self, *states: str, listed: datetime | None = None) -> Ending | None:
        """Look at replicas 1, 2, ... in these states, which were listed just now or earlier."""
        present = [container(number, state) for number, state in enumerate(states, 1)]
        return await self.exits.look(Replicas.of(present), listed or self.now, self.now)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def crashed(number: int, pause: str, retry_at: datetime | None) -> Ending:
    """Describe a crash that was seen."""
    story = STORY.format(number, pause, number)
    return Ending(EndedBy.ITSELF, seen=True, story=story, retry_at=retry_at)


class TestWho:
    async def test_replicas_that_run_say_nothing(self, watch: Watch) -> None:
        assert await watch.look("running", "paused") is None

    async def test_an_event_counts_more_than_a_list_that_was_asked_for_before_it(
        self, watch: Watch
    ) -> None:
        await watch.look("running")
        asked = watch.now
        watch.pass_(INSTANT)
        watch.die(1, by_others=True)

        await watch.look("running", listed=asked)

        assert await watch.look("exited") == Ending(EndedBy.HAND, seen=True)

    async def test_a_replica_just_started_has_not_ended_where_an_older_list_says_so(
        self, watch: Watch
    ) -> None:
        asked = watch.now
        watch.pass_(INSTANT)
        watch.start(1)

        assert await watch.look("exited", listed=asked) is None
        assert not watch.reads

    async def test_a_clock_that_is_set_back_hides_no_end(self, watch: Watch) -> None:
        await watch.look("running")
        watch.pass_(-timedelta(hours=1))
        assert (await watch.look("exited")) is not None

    async def test_what_was_created_and_never_started_says_nothing(self, watch: Watch) -> None:
        assert await watch.look("created", "created") is None

    async def test_the_daemon_itself_stops_a_service(self, watch: Watch) -> None:
        await watch.look("running")
        watch.exits.told_to_stop(WORKER, "id1")
        watch.die(1)
        assert await watch.look("exited") is None

    async def test_somebody_else_stops_a_service(self, watch: Watch) -> None:
        await watch.look("running")
        watch.die(1, by_others=True)
        assert await watch.look("exited") == Ending(EndedBy.HAND, seen=True)
        assert watch.reads == []

    async def test_without_events_the_daemon_still_knows_what_it_has_stopped(
        self, watch: Watch
    ) -> None:
        await watch.look("running")
        watch.exits.told_to_stop(WORKER, "id1")
        assert await watch.look("exited") is None

    async def test_without_events_exit_codes_tell_of_what_was_seen_to_run(
        self, watch: Watch
    ) -> None:
        await watch.look("running", "running")
        watch.pass_(INSTANT)
        ending = await watch.look("running", "exited")
        assert ending is not None
        assert ending.by is EndedBy.ITSELF

    async def test_by_hand_is_said_only_where_no_replica_runs(self, watch: Watch) -> None:
        await watch.look("running", "running")
        watch.die(1, by_others=True)
        assert await watch.look("exited", "running") is None

    async def test_a_service_scales_again_once_a_replica_runs(self, watch: Watch) -> None:
        await watch.look("running")
        watch.die(1, by_others=True)
        await watch.look("exited")
        assert await watch.look("running") is None

    async def test_a_replica_ends_by_itself(self, watch: Watch) -> None:
        await watch.look("running")
        watch.die(1)
        assert await watch.look("exited") == crashed(1, "10s", START + FIRST_PAUSE)
        assert watch.reads == ["id1"]

    async def test_an_end_by_itself_without_an_error_is_a_crash_too(self, watch: Watch) -> None:
        await watch.look("running")
        watch.codes["id1"] = 0
        watch.die(1)
        ending = await watch.look("exited")
        assert ending is not None
        assert "ended by itself with exit code 0;" in ending.story

    async def test_one_that_the_engine_could_not_clean_up_has_ended_as_well(
        self, watch: Watch
    ) -> None:
        await watch.look("running")
        watch.die(1)
        assert await watch.look("dead") is not None

    async def test_the_latest_end_counts(self, watch: Watch) -> None:
        await watch.look("running", "running")
        watch.die(1)
        watch.pass_(INSTANT)
        watch.die(2, by_others=True)
        assert await watch.look("exited", "exited") == Ending(EndedBy.HAND, seen=True)

    async def test_a_replica_that_the_daemon_once_stopped_may_crash_later(
        self, watch: Watch
    ) -> None:
        await watch.look("running")
        watch.exits.told_to_stop(WORKER, "id1")
        watch.die(1)
        await watch.look("exited")
        watch.start(1)
        watch.die(1)
        assert await watch.look("exited") == crashed(1, "10s", START + FIRST_PAUSE)

    async def test_a_look_may_meet_an_end_before_its_event(self, watch: Watch) -> None:
        await watch.look("running")
        first = await watch.look("exited")
        watch.die(1)
        second = await watch.look("exited")
        assert first is not None
        assert second is not None
        assert first.story == second.story


class TestBeforeTheDaemonBegan:
    @pytest.mark.parametrize("code", [0, 137, 143])
    async def test_exit_codes_of_a_stop_mean_that_somebody_stopped_it(
        self, watch: Watch, code: int
    ) -> None:
        watch.codes["id1"] = code
        assert await watch.look("exited") == Ending(EndedBy.HAND, seen=False)

    @pytest.mark.parametrize("code", [1, 3, 255])
    async def test_others_mean_a_crash(self, watch: Watch, code: int) -> None:
        watch.codes["id1"] = code
        ending = await watch.look("exited")
        assert ending is not None
        assert (ending.by, ending.seen) == (EndedBy.ITSELF, False)
        assert f"exit code {code} (no such table)" in ending.story

    async def test_a_kill_for_want_of_memory_is_a_crash(self, watch: Watch) -> None:
        watch.codes["id1"], watch.out_of_memory = 137, True
        ending = await watch.look("exited")
        assert ending is not None
        assert "exit code 137 (out of memory: no such table)" in ending.story

    async def test_beside_replicas_that_run_it_tells_nothing(self, watch: Watch) -> None:
        assert await watch.look("exited", "running") is None
        assert watch.reads == []

    async def test_it_tells_something_once_nothing_runs(self, watch: Watch) -> None:
        watch.codes["id1"] = 1
        await watch.look("exited", "running")
        watch.exits.told_to_stop(WORKER, "id2")
        watch.die(2)
        assert (await watch.look("exited", "exited")) is not None


class TestPauses:
    async def test_the_story_and_the_moment_stay_during_a_pause(self, watch: Watch) -> None:
        watch.start(2)
        watch.die(2)
        for _ in range(3):
            assert await watch.look("running", "exited") == crashed(2, "10s", START + FIRST_PAUSE)
        assert watch.reads == ["id2"]

    async def test_several_that_crash_together_are_one_crash(self, watch: Watch) -> None:
        for number in (1, 2, 3):
            watch.start(number)
            watch.die(number)
        ending = await watch.look("exited", "exited", "exited")
        assert ending is not None
        assert ending.retry_at == START + FIRST_PAUSE

    async def test_a_pause_doubles_with_each_further_crash_up_to_five_minutes(
        self, watch: Watch
    ) -> None:
        pauses: list[int] = []
        for _ in range(7):
            watch.start(1)
            watch.die(1)
            ending = await watch.look("exited")
            assert ending is not None
            assert ending.retry_at is not None
            pauses.append((ending.retry_at - watch.now).seconds)
            watch.pass_(ending.retry_at - watch.now)
        assert pauses == [10, 20, 40, 80, 160, 300, 300]

    async def test_after_the_pause_more_may_be_started(self, watch: Watch) -> None:
        watch.start(1)
        watch.die(1)
        await watch.look("exited")
        watch.pass_(FIRST_PAUSE)
        ending = await watch.look("exited")
        assert ending is not None
        assert ending.retry_at == watch.now

    async def test_a_trial_has_to_run_for_a_while_before_more_are_started(
        self, watch: Watch
    ) -> None:
        watch.start(1)
        watch.die(1)
        await watch.look("exited")
        watch.pass_(FIRST_PAUSE)
        watch.start(1)
        watch.pass_(SETTLED - INSTANT)
        ending = await watch.look("running")
        assert ending is not None
        assert ending.retry_at == watch.now + INSTANT
        watch.pass_(INSTANT)
        assert await watch.look("running") is None

    async def test_after_a_recovery_pauses_begin_anew(self, watch: Watch) -> None:
        watch.start(1)
        watch.die(1)
        await watch.look("exited")
        watch.pass_(FIRST_PAUSE)
        watch.start(1)
        watch.pass_(SETTLED)
        await watch.look("running")
        watch.die(1)
        assert await watch.look("exited") == crashed(1, "10s", watch.now + FIRST_PAUSE)

    async def test_replicas_that_ran_before_the_crash_are_no_trial(self, watch: Watch) -> None:
        await watch.look("running", "running")
        watch.pass_(INSTANT)
        watch.die(2)
        await watch.look("running", "exited")
        watch.pass_(SETTLED)
        assert await watch.look("running", "exited") is not None

    async def test_a_crash_that_nobody_had_to_make_up_for_is_forgotten(self, watch: Watch) -> None:
        await watch.look("running", "running")
        watch.pass_(INSTANT)
        watch.die(2)
        await watch.look("running", "exited")
        watch.pass_(FIRST_PAUSE + REMEMBERED)
        assert await watch.look("running", "exited") is None

    async def test_a_crash_goes_with_its_container(self, watch: Watch) -> None:
        await watch.look("running", "running")
        watch.pass_(INSTANT)
        watch.die(2)
        assert await watch.look("running", "exited") is not None
        assert await watch.look("running") is None

    async def test_a_replica_that_keeps_restarting_is_waited_for(self, watch: Watch) -> None:
        story = (
            "shop-worker-2 keeps restarting after exit code 3 (no such table);"
            " see `docker logs shop-worker-2`"
        )
        for _ in range(2):
            ending = await watch.look("running", "restarting")
            assert ending == Ending(EndedBy.ITSELF, seen=True, story=story)
        assert watch.reads == ["id2"]
        watch.pass_(INSTANT)
        trial = await watch.look("running", "running")
        assert trial is not None
        assert trial.retry_at == watch.now + SETTLED
        watch.pass_(SETTLED)
        assert await watch.look("running", "running") is None


class TestCounts:
    async def test_each_crash_that_was_seen_is_counted_once(self, watch: Watch) -> None:
        await watch.look("running", "running", "running")
        watch.die(1)
        watch.die(2)
        watch.die(3, by_others=True)
        assert watch.exits.take_crashes(WORKER) == 2
        assert watch.exits.take_crashes(WORKER) == 0

    async def test_a_service_that_is_gone_is_forgotten_and_one_that_stays_is_not(
        self, watch: Watch
    ) -> None:
        watch.start(1)
        watch.die(1)
        watch.exits.forget_all_but([WORKER])
        assert watch.exits.take_crashes(WORKER) == 1
        watch.die(1)
        watch.exits.forget_all_but([])
        assert watch.exits.take_crashes(WORKER) == 0
