"""What all sources together want of a service."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from autoscaler.core.errors import LabelError
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.spec import ScalingSpec
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


class Fixed:
    """A source that wants the same of every service."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.wanted = labels

    def labels(self, _: Service) -> Mapping[str, str]:
        return self.wanted


def wishes(*later: Fixed) -> Wishes:
    """Read the labels of a service first, and these sources afterwards."""
    return Wishes([Labels("temporal"), *later], "temporal")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """Return the labels of every spec that is read from now on."""
    found: list[Mapping[str, str]] = []
    from_labels = ScalingSpec.from_labels

    def note(labels: Mapping[str, str], prefix: str) -> ScalingSpec:
        found.append(dict(labels))
        return from_labels(labels, prefix)

    monkeypatch.setattr(ScalingSpec, "from_labels", note)
    return found


class TestLabels:
    def test_only_labels_with_the_prefix_count(self) -> None:
        labels = {**ORDERS, "com.docker.compose.project": "shop", "temporalio": "x"}
        assert Labels("temporal").labels(service(labels)) == ORDERS

    def test_the_prefix_can_be_another_one(self) -> None:
        labels = {"scale.queue": "orders", "temporal.queue": "mails"}
        assert Labels("scale").labels(service(labels)) == {"scale.queue": "orders"}
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


class TestWrongLabels:
    WRONG = ORDERS | {"temporal.max": "many", "temporal.maxi": "3"}

    def test_every_problem_is_named_at_once(self) -> None:
        wish = wishes().of(service(self.WRONG))
        with pytest.raises(LabelError) as raised:
            ScalingSpec.from_labels(self.WRONG, "temporal")
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
