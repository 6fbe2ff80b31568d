"""What all sources together want of a service."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import pytest

from autoscaler.core.errors import LabelError
from autoscaler.core.labels import read_labels
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.spec import ScalingSpec
from autoscaler.ports import WishSource
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.wishes import Wishes

WORKER = ServiceId("compose", "shop/worker")
MAILER = ServiceId("compose", "shop/mailer")
ORDERS = {"temporal.queue": "orders"}


def service(
    labels: Mapping[str, str], *, id_: ServiceId = WORKER, refusal: str | None = None
) -> Service:
    """Describe a service by its labels."""
    return Service(id_, labels, replicas=1, refusal=refusal)


class Fixed(WishSource):
    """A source that wants the same of every service."""

    def __init__(self, wanted: Mapping[str, str] | LabelError, origin: str = "shop.yaml:3") -> None:
        self.wanted = wanted
        self.origin = origin

    def given(self, _: Service) -> Mapping[str, Given]:
        if isinstance(self.wanted, LabelError):
            raise self.wanted
        return {name: Given(value, self.origin) for name, value in self.wanted.items()}


def wishes(*later: Fixed) -> Wishes:
    """Read the labels of a service first, and these sources afterwards."""
    return Wishes([Labels("temporal"), *later], "temporal")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """Return the labels of every spec that is read from now on."""
    found: list[Mapping[str, str]] = []

    def note(
        labels: Mapping[str, str], prefix: str, origins: Mapping[str, str], timezone: ZoneInfo
    ) -> ScalingSpec:
        found.append(dict(labels))
        return read_labels(labels, prefix, origins, timezone)

    monkeypatch.setattr("autoscaler.wishes.wishes.read_labels", note)
    return found


def test_the_daemons_zone_counts_for_schedules() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    spec = Wishes([Labels("temporal")], "temporal", tokyo).of(service(ORDERS)).spec
    assert spec is not None
    assert spec.timezone == tokyo


class TestLabels:
    def test_only_labels_with_the_prefix_count(self) -> None:
        labels = {**ORDERS, "com.docker.compose.project": "shop", "temporalio": "x"}
        given = Labels("temporal").given(service(labels))
        assert given == {"temporal.queue": Given("orders", "label")}

    def test_the_prefix_can_be_another_one(self) -> None:
        labels = {"scale.queue": "orders", "temporal.queue": "mails"}
        assert Labels("scale").given(service(labels)) == {"scale.queue": Given("orders", "label")}
        spec = Wishes([Labels("scale")], "scale").of(service(labels)).spec
        assert spec is not None
        assert spec.queues == ("orders",)


class TestSources:
    def test_a_later_source_has_the_last_word_on_a_label(self) -> None:
        labels = ORDERS | {"temporal.max": "5", "temporal.target": "3"}
        wish = wishes(Fixed({"temporal.max": "7"}), Fixed({"temporal.max": "9"})).of(
            service(labels)
        )
        assert wish.spec is not None
        assert (wish.spec.max, wish.spec.target, wish.spec.queues) == (9, 3, ("orders",))

    def test_the_sources_may_be_right_only_together(self) -> None:
        wish = wishes(Fixed(ORDERS)).of(service({"temporal.max": "5"}))
        assert wish.spec is not None
        assert (wish.spec.queues, wish.spec.max) == (("orders",), 5)
        assert wish.problems == ()

    def test_a_source_that_changes_its_mind_is_heard(self) -> None:
        later = Fixed({"temporal.max": "7"})
        both = wishes(later)
        both.of(service(ORDERS))
        later.wanted = {"temporal.max": "9"}
        spec = both.of(service(ORDERS)).spec
        assert spec is not None
        assert spec.max == 9

    def test_each_value_that_is_no_default_knows_its_origin(self) -> None:
        later = Fixed({"temporal.max": "7"}, "shop.yaml:3")
        wish = wishes(later).of(service(ORDERS | {"temporal.max": "5", "temporal.min": "2"}))
        assert wish.origins == {
            "temporal.queue": "label",
            "temporal.min": "label",
            "temporal.max": "shop.yaml:3",
        }

    def test_another_origin_of_the_same_value_is_another_wish(self) -> None:
        """What is at rest is compared by its wish, and has to show the new origin."""
        later = Fixed({"temporal.max": "7"})
        all_ = wishes(later)
        before = all_.of(service(ORDERS))
        later.origin = "shop.yaml:9"
        after = all_.of(service(ORDERS))
        assert after is not before
        assert after.origins["temporal.max"] == "shop.yaml:9"

    def test_a_service_is_looked_after_where_one_of_them_says_so(self) -> None:
        all_ = Wishes([Labels("temporal"), Labels("acme")], "temporal")
        assert all_.looks_after(WORKER, {"acme.queue": "orders"})
        assert all_.looks_after(WORKER, ORDERS)
        assert not all_.looks_after(WORKER, {"of.others": "temporal"})


class TestWrongLabels:
    WRONG = ORDERS | {"temporal.max": "many", "temporal.maxi": "3"}

    def test_every_problem_is_named_at_once(self) -> None:
        wish = wishes().of(service(self.WRONG))
        with pytest.raises(LabelError) as raised:
            read_labels(self.WRONG, "temporal")
        assert wish.problems == raised.value.problems
        assert len(wish.problems) == 2

    def test_labels_that_were_never_right_give_no_spec(self) -> None:
        assert wishes().of(service(self.WRONG)).spec is None

    def test_the_last_good_spec_stays_in_force(self) -> None:
        all_ = wishes()
        good = all_.of(service(ORDERS)).spec
        for wrong in (self.WRONG, {"temporal.queue": ""}):
            wish = all_.of(service(wrong))
            assert wish.spec == good
            assert wish.problems

    def test_labels_that_are_right_again_replace_it_without_a_problem(self) -> None:
        all_ = wishes()
        all_.of(service(ORDERS))
        all_.of(service(self.WRONG))
        wish = all_.of(service({"temporal.queue": "mails"}))
        assert wish.spec is not None
        assert wish.spec.queues == ("mails",)
        assert wish.problems == ()

    def test_each_service_has_its_own_last_good_spec(self) -> None:
        all_ = wishes()
        all_.of(service(ORDERS))
        assert all_.of(service(self.WRONG, id_=MAILER)).spec is None


class TestWrongValuesOfALaterSource:
    """A label says 5, and the later source something wrong."""

    GOOD = ORDERS | {"temporal.max": "5"}

    def test_they_are_named_with_their_origin(self) -> None:
        later = Fixed({"temporal.max": "many", "temporal.mx": "3"}, "shop.yaml:3")
        unknown, wrong = wishes(later).of(service(self.GOOD)).problems
        assert unknown == (
            "temporal.mx='3' (shop.yaml:3) is not a label, the nearest is temporal.max"
        )
        assert wrong.startswith("temporal.max='many' (shop.yaml:3) must be a whole number")

    def test_what_a_value_contradicts_is_named_with_its_origin_too(self) -> None:
        wish = wishes(Fixed({"temporal.min": "6"}, "shop.yaml:3")).of(service(self.GOOD))
        (problem,) = wish.problems
        assert problem.startswith("temporal.max='5' must be")
        assert problem.endswith("; min is 6 (shop.yaml:3)")

    def test_they_keep_the_last_good_spec_and_its_origins(self) -> None:
        later = Fixed({"temporal.max": "7"})
        all_ = wishes(later)
        good = all_.of(service(self.GOOD))
        later.wanted, later.origin = {"temporal.max": "many"}, "shop.yaml:9"
        wish = all_.of(service(self.GOOD))
        assert (wish.spec, wish.origins) == (good.spec, good.origins)
        assert wish.labels["temporal.max"] == "many"

    def test_what_is_not_known_holds_a_service_at_its_last_good_spec(self) -> None:
        later = Fixed({"temporal.max": "7"})
        all_ = wishes(later)
        good = all_.of(service(self.GOOD))
        later.wanted = LabelError(["shop.yaml cannot be read"])
        wish = all_.of(service(self.GOOD))
        assert (wish.spec, wish.problems) == (good.spec, ("shop.yaml cannot be read",))
        assert all_.of(service(self.GOOD)) is wish
        later.wanted = {"temporal.max": "7"}
        assert all_.of(service(self.GOOD)) == good

    def test_what_was_never_known_gives_no_spec(self) -> None:
        wish = wishes(Fixed(LabelError(["shop.yaml cannot be read"]))).of(service(self.GOOD))
        assert (wish.spec, wish.problems) == (None, ("shop.yaml cannot be read",))


class TestUnchangedLabels:
    def test_they_are_not_read_again(self, read: list[Mapping[str, str]]) -> None:
        all_ = wishes()
        for _ in range(3):
            all_.of(service(ORDERS | {"of.others": "changes"}))
        assert read == [ORDERS]

    def test_wrong_ones_are_not_read_again_and_keep_their_problems(
        self, read: list[Mapping[str, str]]
    ) -> None:
        all_ = wishes()
        first = all_.of(service(TestWrongLabels.WRONG))
        assert all_.of(service(dict(TestWrongLabels.WRONG))) == first
        assert read == [TestWrongLabels.WRONG]

    def test_changed_ones_are_read(self, read: list[Mapping[str, str]]) -> None:
        all_ = wishes()
        all_.of(service(ORDERS))
        all_.of(service({"temporal.queue": "mails"}))
        all_.of(service(ORDERS))
        assert len(read) == 3


class TestRefusal:
    """An orchestrator that found labels in the wrong place says where they belong."""

    WHY = "move its labels under deploy.labels"

    def test_it_replaces_the_missing_queue_where_there_are_no_labels(self) -> None:
        assert wishes().of(service({}, refusal=self.WHY)).problems == (self.WHY,)
        (missing,) = wishes().of(service({})).problems
        assert "temporal.queue" in missing

    def test_the_last_good_spec_stays_in_force(self) -> None:
        all_ = wishes()
        good = all_.of(service(ORDERS))
        wish = all_.of(service({}, refusal=self.WHY))
        assert (wish.spec, wish.queues) == (good.spec, good.queues)
        assert wish.problems == (self.WHY,)

    def test_once_the_labels_are_back_the_refusal_is_no_problem(self) -> None:
        all_ = wishes()
        good = all_.of(service(ORDERS))
        all_.of(service({}, refusal=self.WHY))
        assert all_.of(service(ORDERS)) == good

    def test_a_service_with_labels_has_a_wish_although_it_is_refused(self) -> None:
        wish = wishes().of(service(ORDERS, refusal="a rollout is under way"))
        assert wish.spec is not None
        assert wish.problems == ()


class TestServicesThatAreGone:
    def test_their_last_good_spec_is_forgotten(self) -> None:
        all_ = wishes()
        for id_ in (WORKER, MAILER):
            all_.of(service(ORDERS, id_=id_))
        all_.forget_all_but({MAILER})
        wrong = TestWrongLabels.WRONG
        assert all_.of(service(wrong)).spec is None
        assert all_.of(service(wrong, id_=MAILER)).spec is not None

    def test_the_labels_of_the_others_are_not_read_again(
        self, read: list[Mapping[str, str]]
    ) -> None:
        all_ = wishes()
        all_.of(service(ORDERS, id_=MAILER))
        all_.forget_all_but({MAILER})
        all_.of(service(ORDERS, id_=MAILER))
        assert len(read) == 1
