"""autoscaler doctor: everything that is wrong at once, each with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from typer.testing import CliRunner, Result

from autoscaler.cli import commands
from autoscaler.core.errors import IntegrationError, OrchestratorError
from autoscaler.core.findings import Finding, Outcome
from autoscaler.core.report import IntegrationReport
from autoscaler.reconcile import Reconciler
from autoscaler.settings import Settings
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels

ENGINE = Finding("engine", Outcome.OK, "it answers")
HOST = Finding("host", Outcome.OK, "its memory is known")
STATE = Finding("overrides", Outcome.OK, "they are kept")


@dataclass
class Integrations:
    """What is set up."""

    known: list[str] = field(default_factory=list)
    broken: IntegrationError | None = None

    def names(self) -> list[str]:
        if self.broken is not None:
            raise self.broken
        return self.known


class House:
    """What the command gets to work with: an engine and integrations that are well."""

    def __init__(self) -> None:
        self.orchestrator = FakeOrchestrator()
        self.source = FakeBacklogSource()
        self.integrations = Integrations()
        self.engine = [ENGINE]
        self.host = HOST
        self.agents: list[Finding] = []
        self.state = STATE
        self.graces: list[Finding] = []

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler([self.orchestrator], self.source, by_labels(), clock=Clock())

    async def examine_engine(self) -> list[Finding]:
        return self.engine

    async def examine_host(self) -> list[Finding]:
        return [self.host]

    async def examine_agents(self) -> list[Finding]:
        return self.agents

    def examine_state(self) -> Finding:
        return self.state

    async def examine_graces(self, waits: Callable[[timedelta], None]) -> list[Finding]:
        for _ in self.graces:
            waits(timedelta(seconds=12.4))
        return self.graces

    async def examine_integrations(self, names: list[str]) -> list[Finding]:
        return [Finding(f"integration {name}", Outcome.OK, "it answers") for name in names]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    made = House()

    def build(_settings: Settings) -> House:
        return made

    monkeypatch.setattr("autoscaler.cli.doctor.build", build)
    return made


def doctor(*options: str) -> Result:
    return CliRunner().invoke(commands, ["doctor", *options])


def test_where_all_is_well_it_says_so_and_ends_with_0(house: House) -> None:
    house.orchestrator.add("shop/worker", {"temporal.queue": "orders"})
    house.source.fill("orders", 10)
    result = doctor()
    assert result.stdout.splitlines() == [
        "ok       engine: it answers",
        "ok       host: its memory is known",
        "ok       overrides: they are kept",
        "ok       integration default: it answers",
        "ok       service shop/worker: follows orders: 10 waiting, 1 replica is right",
    ]
    assert result.exit_code == 0
    assert house.orchestrator.actions == []


def test_a_node_whose_agent_does_not_answer_needs_doing(house: House) -> None:
    house.agents = [Finding("agents", Outcome.WRONG, "the agent on node vm does not answer")]
    result = doctor()
    assert "wrong    agents: the agent on node vm does not answer" in result.stdout
    assert result.exit_code == 1


def test_what_needs_doing_ends_it_with_1(house: House) -> None:
    house.orchestrator.add("shop/worker", {"temporal.queue": "orders", "temporal.mx": "3"})
    house.orchestrator.add("shop/graceless", {"temporal.queue": "orders"}, warnings=("no grace",))
    house.source.fill("orders", 10)
    result = doctor()
    assert result.exit_code == 1
    assert "warning  service shop/graceless: no grace" in result.stdout
    assert "wrong    service shop/worker: temporal.mx" in result.stdout


def test_for_programs_it_is_a_list_of_objects(house: House) -> None:
    result = doctor("--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found[0] == {"subject": "engine", "outcome": "ok", "text": "it answers"}
    assert found[-1]["outcome"] == "warning"
    assert house.source.reads == [[]]


def test_integrations_that_are_set_up_or_used_are_examined(house: House) -> None:
    house.integrations.known = ["cloud", "test"]
    used = IntegrationReport("default", "localhost:7233", "default", "a test", up=True)
    house.source.connections = [used]
    out = doctor().stdout
    assert [name for name in ("cloud", "default", "test") if f"integration {name}:" in out] == [
        "cloud",
        "default",
        "test",
    ]


def test_a_store_that_cannot_be_read_is_wrong_and_the_rest_is_examined(house: House) -> None:
    house.integrations.broken = IntegrationError("the key is not here")
    used = IntegrationReport("cloud", "cloud:7233", "default", "environment", up=True)
    house.source.connections = [used]
    result = doctor()
    assert result.exit_code == 1
    assert "wrong    encrypted store: the key is not here" in result.stdout
    assert "ok       integration cloud: it answers" in result.stdout


def test_what_is_wrong_with_the_engine_is_said_once(house: House) -> None:
    house.engine = [Finding("engine", Outcome.WRONG, "no engine")]
    house.orchestrator.unreachable = OrchestratorError("no engine")
    result = doctor()
    assert result.exit_code == 1
    assert result.stdout.count("no engine") == 1


def test_services_that_interrupt_long_tasks_are_named_and_stderr_says_what_takes_so_long(
    house: House,
) -> None:
    house.graces = [Finding("service shop/worker", Outcome.WARNING, "a task ran for longer")]
    result = doctor("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[-1]["text"] == "a task ran for longer"
    assert result.stderr.startswith(
        "autoscaler: waiting 12s for the next heartbeats of workers at work"
    )
