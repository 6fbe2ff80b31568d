"""Which containers are replicas, which of them run again first, and which of them go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.containers import LEFT_BEHIND, Container, Replicas


def row(number: int = 1, *, state: str = "running", **changes: Any) -> dict[str, Any]:
    """Return a row of the engine's list of containers."""
    labels = {
        recipe.PROJECT: "shop",
        recipe.SERVICE: "worker",
        recipe.NUMBER: str(number),
        recipe.CONFIG_HASH: "new",
    }
    return {
        "Id": f"id{number}",
        "Names": [f"/shop-worker-{number}"],
        "Created": 1000 + number,
        "State": state,
        "Labels": labels,
    } | changes


def container(number: int, state: str = "running", **changes: Any) -> Container:
    """Read a row that is known to be a replica; `hash_` is its version of the file."""
    labels = row(number)["Labels"] | {recipe.CONFIG_HASH: changes.pop("hash_", "new")}
    read = Container.from_row(row(number, state=state, Labels=labels, **changes))
    assert read is not None
    return read


def replicas(*containers: Container, draining: tuple[str, ...] = ()) -> Replicas:
    """Sort containers of one service."""
    return Replicas.of(containers, draining)


def numbers(containers: tuple[Container, ...]) -> list[int]:
    """Return the numbers of containers."""
    return [one.number for one in containers]


class TestRows:
    def test_a_row_of_compose_is_a_replica(self) -> None:
        read = Container.from_row(row(3))
        assert read is not None
        assert read.service == ServiceId("compose", "shop/worker")
        assert (read.id, read.name, read.number, read.config_hash) == (
            "id3",
            "shop-worker-3",
            3,
            "new",
        )

    @pytest.mark.parametrize(
        ("state", "counts"),
        [
            ("running", True),
            ("restarting", True),
            ("paused", True),
            ("created", False),
            ("exited", False),
            ("dead", False),
            ("removing", False),
        ],
    )
    def test_what_runs_restarts_or_pauses_counts(self, state: str, *, counts: bool) -> None:
        read = Container.from_row(row(state=state))
        assert read is not None
        assert read.running is counts

    @pytest.mark.parametrize(
        "labels",
        [
            pytest.param(None, id="no-labels"),
            pytest.param({"own": "label"}, id="not-of-compose"),
            pytest.param(row()["Labels"] | {recipe.CONFIG_HASH: ""}, id="a-hook"),
            pytest.param(row()["Labels"] | {recipe.NUMBER: "one"}, id="no-number"),
            pytest.param(
                {k: v for k, v in row()["Labels"].items() if k != recipe.NUMBER}, id="unnumbered"
            ),
        ],
    )
    def test_anything_else_is_none(self, labels: dict[str, str] | None) -> None:
        assert Container.from_row(row(Labels=labels)) is None


class TestSorting:
    def test_the_newest_is_the_template(self) -> None:
        newest = container(2, Created=3000)
        assert replicas(container(1), newest, container(5)).template is newest

    def test_of_two_made_in_one_second_the_higher_number_is_the_template(self) -> None:
        higher = container(2, Created=1000)
        assert replicas(container(1, Created=1000), higher).template is higher

    def test_one_that_has_never_run_may_be_half_made_and_is_no_template(self) -> None:
        half_made = container(3, "created")
        assert replicas(container(1), container(2), half_made).template.number == 2
        assert replicas(container(1, "exited"), half_made).template.number == 1

    def test_it_is_the_template_where_nothing_of_its_configuration_has_run(self) -> None:
        newest = container(3, "created")
        assert replicas(container(2, "created"), newest).template is newest
        assert replicas(container(1, hash_="old"), newest).template is newest

    def test_what_drains_is_no_replica_but_keeps_its_number(self) -> None:
        sorted_ = replicas(container(1), container(7), draining=("id7",))
        assert numbers(sorted_.running) == [1]
        assert sorted_.highest == 7
        assert sorted_.template.number == 1

    def test_what_drains_is_the_template_where_nothing_else_is_left(self) -> None:
        sorted_ = replicas(container(1), draining=("id1",))
        assert sorted_.template.number == 1
        assert sorted_.running == sorted_.stopped == ()

    def test_a_recreate_under_way_is_a_refusal(self) -> None:
        old = container(1, Names=["/0123456789ab_shop-worker-1"])
        refusal = replicas(old, container(2)).refusal
        assert refusal is not None
        assert "0123456789ab_shop-worker-1" in refusal
        assert replicas(container(1)).refusal is None


class TestStarting:
    def test_stopped_replicas_run_again_before_new_ones_are_made_lowest_first(self) -> None:
        sorted_ = replicas(container(1), *(container(n, "exited") for n in (4, 3, 2)))
        assert numbers(sorted_.to_start(3)) == [2, 3]

    def test_one_that_has_never_run_may_be_half_made_and_is_not_started(self) -> None:
        assert replicas(container(1), container(2, "created")).to_start(2) == ()
        assert numbers(replicas(container(1, "exited"), container(2, "created")).to_start(2)) == [1]

    def test_where_none_has_ever_run_nothing_is_started_and_words_say_why(self) -> None:
        sorted_ = replicas(container(1, "created"), container(2, "created"))
        assert sorted_.to_start(2) == ()
        assert sorted_.never_started == (
            "shop-worker-2 was created and never started, so its secrets may be missing;"
            " run `docker compose up --detach worker`"
        )

    def test_so_it_is_where_older_ones_run(self) -> None:
        sorted_ = replicas(container(1, hash_="old", Created=1), container(2, "created"))
        assert sorted_.never_started is not None
        assert replicas(container(1), container(2, "created")).never_started is None

    def test_outdated_ones_stay_stopped(self) -> None:
        sorted_ = replicas(container(2), container(1, "exited", hash_="old"))
        assert sorted_.to_start(5) == ()

    def test_none_is_started_where_enough_run(self) -> None:
        assert replicas(container(1), container(2, "exited")).to_start(1) == ()

    @pytest.mark.parametrize("state", ["removing", "dead"])
    def test_what_is_on_its_way_out_is_not_started(self, state: str) -> None:
        assert replicas(container(1), container(2, state)).to_start(2) == ()


class TestStopping:
    def test_the_highest_numbers_go_first(self) -> None:
        sorted_ = replicas(*(container(n) for n in (2, 4, 1, 3)))
        assert numbers(sorted_.in_turn()) == [4, 3, 2, 1]

    def test_outdated_ones_go_before_them(self) -> None:
        sorted_ = replicas(
            container(1, hash_="old"), container(2, hash_="old"), container(3), container(4)
        )
        assert numbers(sorted_.in_turn()) == [2, 1, 4, 3]

    def test_those_that_other_containers_use_go_last(self) -> None:
        sorted_ = replicas(container(1, hash_="old"), container(2), container(3))
        assert numbers(sorted_.in_turn({"id1", "id3"})) == [2, 1, 3]

    def test_those_that_drain_are_not_told_again(self) -> None:
        sorted_ = replicas(container(1), container(2), container(3), draining=("id3",))
        assert numbers(sorted_.in_turn()) == [2, 1]

    def test_where_nothing_runs_nothing_goes(self) -> None:
        assert replicas(container(1, "exited")).in_turn() == ()

    def test_stopped_ones_are_not_among_those_to_stop(self) -> None:
        assert numbers(replicas(container(1), container(2, "exited")).in_turn()) == [1]


class TestKeeper:
    def test_at_zero_the_lowest_number_is_kept(self) -> None:
        assert replicas(container(3), container(2), container(4, "exited")).keeper().number == 2

    def test_a_stopped_one_may_be_it(self) -> None:
        assert replicas(container(3), container(1, "exited")).keeper().number == 1

    def test_one_that_has_never_run_is_it_only_where_there_is_no_other(self) -> None:
        assert replicas(container(1, "created"), container(2)).keeper().number == 2
        assert replicas(container(1, "created")).keeper().number == 1

    def test_it_is_an_outdated_one_only_where_there_is_no_other(self) -> None:
        assert replicas(container(1, hash_="old"), container(2)).keeper().number == 2

    def test_while_the_last_one_drains_it_is_the_one(self) -> None:
        assert replicas(container(1), draining=("id1",)).keeper().number == 1


def test_one_that_was_renamed_is_no_template_while_there_is_another() -> None:
    renamed = container(2, Names=["/my-own"])
    assert replicas(container(1), renamed).template.number == 1
    assert replicas(renamed).template.number == 2


class TestBeingStarted:
    def test_what_was_created_and_never_started_is_for_five_minutes(self) -> None:
        sorted_ = replicas(container(1), container(2, "created"), container(3, "exited"))
        assert numbers(sorted_.being_started(after(LEFT_BEHIND))) == [2]
        assert sorted_.being_started(after(LEFT_BEHIND + timedelta(seconds=3))) == ()

    def test_it_is_also_where_none_has_run(self) -> None:
        sorted_ = replicas(container(1, "created"), container(2, "created"))
        assert numbers(sorted_.being_started(after(timedelta()))) == [1, 2]

    def test_what_drains_is_not(self) -> None:
        sorted_ = replicas(container(1), container(2, "created"), draining=("id2",))
        assert sorted_.being_started(after(timedelta())) == ()

    def test_the_eldest_runs_and_has_the_same_configuration(self) -> None:
        new = container(9, "created")
        others = (container(1, hash_="old"), container(2, "exited"), container(4), container(3))
        assert replicas(new, *others).eldest(new) == container(3)
        assert replicas(new, *others[:2]).eldest(new) is None


class TestLeftBehind:
    def test_what_was_made_long_ago_and_never_started_is(self) -> None:
        sorted_ = replicas(container(1), container(2, "created"))
        assert numbers(sorted_.left_behind(after(LEFT_BEHIND + timedelta(seconds=3)))) == [2]

    def test_what_was_made_just_now_may_still_be_started(self) -> None:
        sorted_ = replicas(container(1), container(2, "created"))
        assert sorted_.left_behind(after(LEFT_BEHIND)) == ()

    def test_what_has_ended_is_not(self) -> None:
        sorted_ = replicas(container(1), container(2, "exited"))
        assert sorted_.left_behind(after(timedelta(hours=1))) == ()

    def test_where_none_has_run_they_wait_for_their_first_start(self) -> None:
        sorted_ = replicas(container(1, "created"), container(2, "created"))
        assert sorted_.left_behind(after(timedelta(hours=1))) == ()

    def test_while_compose_recreates_the_service_nothing_is(self) -> None:
        new = container(2, "created", Names=["/0123456789ab_shop-worker-2"])
        assert replicas(container(1), new).left_behind(after(timedelta(hours=1))) == ()


def after(time: timedelta) -> datetime:
    """Return the moment that lies so long after the first container was made."""
    return datetime.fromtimestamp(1000, UTC) + time
