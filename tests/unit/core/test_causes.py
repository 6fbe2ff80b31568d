"""One cause that befalls several services is told once."""

from __future__ import annotations

from autoscaler.core.causes import Cause, causes
from tests.fakes.reports import compose, integration, service, tick

ONE, TWO, THREE = compose("a/one", "a/two", "a/three")


def test_where_all_is_well_there_is_none() -> None:
    assert causes(tick(service(), integrations=(integration(),))) == ()


def test_an_engine_that_does_not_answer_befalls_all_that_were_not_seen() -> None:
    seen = tick(errors=("no engine",), unseen=(ONE, TWO))
    assert causes(seen) == (Cause("no engine", "no engine", (ONE, TWO)),)


class TestAlike:
    def test_the_same_error_of_two_services_is_one_cause(self) -> None:
        (cause,) = causes(tick(*(service(name.name, errors=("x",)) for name in (ONE, TWO))))
        assert cause == Cause("x", "x", (ONE, TWO), texts=frozenset({"x"}))

    def test_so_is_the_same_warning(self) -> None:
        (cause,) = causes(tick(*(service(name.name, warnings=("x",)) for name in (ONE, TWO))))
        assert cause == Cause("x", "x", (ONE, TWO), warning=True, texts=frozenset({"x"}))

    def test_what_one_service_says_stands_with_the_service(self) -> None:
        assert causes(tick(service("a/one", errors=("x", "x")), service("a/two"))) == ()


class TestConnection:
    DOWN = integration("cloud", up=False, error="integration cloud: key refused")

    def test_all_that_fails_because_of_it_is_one_cause_in_its_own_words(self) -> None:
        first, second = "integration cloud: call 1 failed", "integration cloud: call 2 failed"
        (cause,) = causes(
            tick(
                service("a/one", errors=(first,)),
                service("a/two", errors=(second,)),
                integrations=(self.DOWN,),
            )
        )
        assert cause.text == "integration cloud: key refused"
        assert cause.services == (ONE, TWO)
        assert cause.texts == {first, second}

    def test_a_service_of_another_connection_is_not_befallen(self) -> None:
        other = "integration clouds: no answer"
        failed = "integration cloud: failed"
        (cause,) = causes(
            tick(
                service("a/one", errors=(failed,)),
                service("a/two", errors=(failed,)),
                service("a/three", errors=(other,)),
                integrations=(self.DOWN,),
            )
        )
        assert THREE not in cause.services

    def test_while_it_is_up_what_fails_differently_has_different_causes(self) -> None:
        up = integration("cloud")
        services = [service(f"a/{n}", errors=(f"integration cloud: {n}",)) for n in range(3)]
        assert causes(tick(*services, integrations=(up,))) == ()

    def test_one_service_alone_says_it_itself(self) -> None:
        failed = service("a/one", errors=("integration cloud: failed",))
        assert causes(tick(failed, integrations=(self.DOWN,))) == ()


def test_errors_come_before_warnings() -> None:
    both = [service(each.name, errors=("bad",), warnings=("odd",)) for each in (ONE, TWO)]
    assert [cause.text for cause in causes(tick(*both))] == ["bad", "odd"]
